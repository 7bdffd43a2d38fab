/* SPDX-License-Identifier: Apache-2.0 */
/* Owns doctor's checks of KVM; see doctor.h. KVM API sections are those of the kernel's
 * Documentation/virt/kvm/api.rst. */
#include "doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/util.h"

/* What VMs, snapshots and restores are made of; without one of these nothing runs. */
static const struct {
    int number;
    const char *name;
    const char *purpose;
} needed[] = {
    { KVM_CAP_USER_MEMORY, "USER_MEMORY", "guest memory" },
    { KVM_CAP_IRQCHIP, "IRQCHIP", "interrupt controllers" },
    { KVM_CAP_PIT2, "PIT2", "the timer" },
    { KVM_CAP_PIT_STATE2, "PIT_STATE2", "saving the timer" },
    { KVM_CAP_IRQFD, "IRQFD", "device interrupts" },
    { KVM_CAP_IOEVENTFD, "IOEVENTFD", "device doorbells" },
    { KVM_CAP_IMMEDIATE_EXIT, "IMMEDIATE_EXIT", "stopping a vCPU" },
    { KVM_CAP_EXT_CPUID, "EXT_CPUID", "the CPUID filter" },
    { KVM_CAP_MP_STATE, "MP_STATE", "saving a vCPU" },
    { KVM_CAP_VCPU_EVENTS, "VCPU_EVENTS", "saving a vCPU" },
    { KVM_CAP_DEBUGREGS, "DEBUGREGS", "saving a vCPU" },
    { KVM_CAP_XSAVE, "XSAVE", "saving a vCPU" },
    { KVM_CAP_XCRS, "XCRS", "saving a vCPU" },
    { KVM_CAP_GET_TSC_KHZ, "GET_TSC_KHZ", "the clock after a restore" },
    { KVM_CAP_ADJUST_CLOCK, "ADJUST_CLOCK", "the clock after a restore" },
};

static void open_failed(struct doctor *doctor, int code)
{
    static const struct {
        int code;
        const char *found;
        const char *advice;
    } reasons[] = {
        { ENOENT, "it does not exist",
          "turn virtualization (VT-x, AMD-V) on in the firmware and load the module: "
          "'modprobe kvm_intel' or 'modprobe kvm_amd'; in a VM, have its host turn nested "
          "virtualization on; in a container, pass the device on with --device /dev/kvm" },
        { EACCES, "this user may not open it",
          "join the group that may: 'sudo usermod -aG kvm $USER', then log in again" },
        { EPERM, "this user may not open it",
          "the device is kept from this container; have it passed on with --device /dev/kvm" },
        { ENODEV, "no KVM module answers behind it",
          "load the module: 'modprobe kvm_intel' or 'modprobe kvm_amd'" },
        { ENXIO, "no KVM module answers behind it",
          "load the module: 'modprobe kvm_intel' or 'modprobe kvm_amd'" },
    };

    for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
        if (reasons[i].code == code) {
            doctor_add(doctor, "/dev/kvm", DOCTOR_ERROR, reasons[i].advice, "%s", reasons[i].found);
            return;
        }
    }
    doctor_add(doctor, "/dev/kvm", DOCTOR_ERROR, "see the kernel's log: 'dmesg | grep -i kvm'",
               "cannot be opened: %s", strerror(code));
}

static void check_kind(struct doctor *doctor)
{
    if (access("/sys/module/kvm_pvm", F_OK) == 0)
        doctor_add(doctor, "KVM kind", DOCTOR_WARNING,
                   "use the project's own guest kernel (quickstart builds it); for speed, and for "
                   "stock kernels, use a host with VT-x or AMD-V",
                   "software-only (pvm): guest user mode is fast, every instruction of the guest's "
                   "kernel is emulated; a cold boot takes seconds, a restore does not");
    else if (access("/sys/module/kvm_intel", F_OK) == 0)
        doctor_add(doctor, "KVM kind", DOCTOR_OK, "", "hardware, Intel VT-x");
    else if (access("/sys/module/kvm_amd", F_OK) == 0)
        doctor_add(doctor, "KVM kind", DOCTOR_OK, "", "hardware, AMD-V (SVM)");
    else
        doctor_add(doctor, "KVM kind", DOCTOR_INFO, "", "unknown: no module that voltctl knows");
}

static void check_capabilities(struct doctor *doctor, int kvm_fd)
{
    unsigned missing = 0;

    for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
        if (ioctl(kvm_fd, KVM_CHECK_EXTENSION, needed[i].number) > 0)
            continue;
        missing++;
        doctor_add(doctor, "KVM capability", DOCTOR_ERROR, "update the host's kernel",
                   "KVM_CAP_%s is missing (%s)", needed[i].name, needed[i].purpose);
    }
    if (missing == 0)
        doctor_add(doctor, "KVM capabilities", DOCTOR_OK, "", "all %zu that are needed",
                   ARRAY_LEN(needed));
}

void doctor_check_kvm(struct doctor *doctor)
{
    _cleanup_close_ int kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

    if (kvm_fd < 0) {
        open_failed(doctor, errno);
        return;
    }
    doctor_add(doctor, "/dev/kvm", DOCTOR_OK, "", "opens");
    /* 4.1: the version is 12, and applications should refuse any other. */
    int version = ioctl(kvm_fd, KVM_GET_API_VERSION, 0);
    if (version != KVM_API_VERSION) {
        doctor_add(doctor, "KVM API", DOCTOR_ERROR, "update the host's kernel",
                   "version %d, not %d", version, KVM_API_VERSION);
        return;
    }
    doctor_add(doctor, "KVM API", DOCTOR_OK, "", "version %d", version);
    check_capabilities(doctor, kvm_fd);
    check_kind(doctor);
    /* 4.2: a host may have the device and still not be able to make a VM. */
    _cleanup_close_ int vm_fd = ioctl(kvm_fd, KVM_CREATE_VM, 0);
    if (vm_fd < 0)
        doctor_add(doctor, "KVM VM", DOCTOR_ERROR,
                   "look at 'dmesg'; another hypervisor (VirtualBox, say) may hold the CPU",
                   "cannot be created: %s", strerror(errno));
    else
        doctor_add(doctor, "KVM VM", DOCTOR_OK, "", "can be created");
}
