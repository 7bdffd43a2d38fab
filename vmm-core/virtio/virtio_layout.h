/* SPDX-License-Identifier: Apache-2.0 */
/* Where the virtio-mmio devices of a machine are: shared by the devices, which answer there, and by
 * boot, which tells the guest's kernel (command line, ACPI). Part of every snapshot's contract. */
#ifndef VOLT_VIRTIO_VIRTIO_LAYOUT_H
#define VOLT_VIRTIO_VIRTIO_LAYOUT_H

#define VIRTIO_MMIO_BASE_GPA 0xd0000000ull
#define VIRTIO_MMIO_SLOT_BYTES 0x1000ull
#define VIRTIO_MMIO_GSI_BASE 5u
#define VIRTIO_MMIO_SLOT_COUNT 11u

/* Edge-triggered lines, all below 16 so that a PIC-less guest and an MP table need no override. */
#define VIRTIO_MMIO_SLOT_GPA(slot) (VIRTIO_MMIO_BASE_GPA + (slot)*VIRTIO_MMIO_SLOT_BYTES)
#define VIRTIO_MMIO_SLOT_GSI(slot) (VIRTIO_MMIO_GSI_BASE + (slot))

/* QueueNotify: where an ioeventfd goes (4 bytes, any value). */
#define VIRTIO_MMIO_NOTIFY_OFFSET 0x50u

#endif
