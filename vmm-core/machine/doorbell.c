/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the host side of the doorbell (guest_abi.h): the mailbox, the check of the guest's answer,
 * and the times that every latency figure is made of. Runs on vCPU 0's thread only, but for reads of
 * what it is, which any vCPU may ask for.
 *
 * Invariants
 *   1. An AWAKE counts only while an answer is due and only on vCPU 0; it must be right the first
 *      time. A PARK or READY in place of the answer ends the VM too.
 *   2. Anything else out of place is counted and ignored: a guest that rings a million times a
 *      second costs its own vCPU time and nothing more.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "boot/boot.h"
#include "machine/machine_internal.h"

/* A leased guest that nobody has asked for anything yet: long enough for many acquires at once to
 * be answered on a few CPUs, or for a lease that ends at once to be over. */
#define LEASE_REST_MS 10

bool doorbell_claims(uint16_t port)
{
    return (port >= DOORBELL_PORT_BASE && port < DOORBELL_PORT_BASE + DOORBELL_PORT_COUNT) ||
           (port >= FUNCTION_PORT_BELL && port < FUNCTION_PORT_BELL + FUNCTION_PORT_COUNT);
}

/* Passes on what the guest says of a failure. */
static void report_trouble(struct vm *vm)
{
    const struct doorbell_mailbox *box = guest_mem_at(&vm->mem, DOORBELL_MAILBOX_GPA, sizeof *box);
    struct control_msg msg = { .type = CONTROL_TROUBLE };

    static_assert(sizeof box->trouble <= sizeof msg.u.trouble.text, "it fits");
    for (size_t i = 0; i < sizeof box->trouble - 1; i++)
        msg.u.trouble.text[i] = *(const volatile char *)&box->trouble[i];
    vm->doorbell.ops->report(vm, &msg);
}

static void report(struct vm *vm, enum control_type type, uint64_t at_ns, uint64_t load_ns,
                   uint64_t run_ns)
{
    struct control_msg msg = { .type = type };

    msg.u.progress.at_ns = at_ns;
    msg.u.progress.load_ns = load_ns;
    msg.u.progress.run_ns = run_ns;
    msg.u.progress.setup_ns = vm->first_run_ns - vm->created_ns;
    if (type == CONTROL_READY) {
        const struct doorbell_mailbox *box =
            guest_mem_at(&vm->mem, DOORBELL_MAILBOX_GPA, sizeof *box);
        msg.u.progress.ready_status = *(const volatile uint32_t *)&box->ready_status;
        if (msg.u.progress.ready_status)
            report_trouble(vm);
    }
    vm->doorbell.ops->report(vm, &msg);
}

void doorbell_report_parked(struct vm *vm, uint64_t at_ns)
{
    report(vm, CONTROL_PARKED, at_ns, 0, at_ns - vm->first_run_ns);
}

/* ---- Waiting and waking ---- */

bool doorbell_waited(struct vm *vm, int rc)
{
    if (rc == -ENOTCONN)
        vm_end(vm, EXIT_REASON_POOLD_GONE, "the bell was closed");
    else if (rc < 0)
        vm_end(vm, EXIT_REASON_HOST_ERROR, "waiting on the bell: %s", strerror(-rc));
    return rc == 0 && atomic_load(&vm->end_reason) == EXIT_REASON_NONE;
}

/* Waits for a message of this type. False when the VM ended meanwhile, or is ended for it. */
static bool wait_for(struct vm *vm, enum control_type type, struct control_msg *ret_msg)
{
    return doorbell_waited(vm, vm->doorbell.ops->wait(vm, type, ret_msg));
}

bool doorbell_wait(struct vm *vm, struct control_msg *ret_wake)
{
    return wait_for(vm, CONTROL_WAKE, ret_wake);
}

bool doorbell_stay_held(struct vm *vm)
{
    struct vm_doorbell *bell = &vm->doorbell;
    struct control_msg msg;

    if (!bell->hold || bell->answer_due)
        return true;
    bell->hold = false;
    if (!wait_for(vm, CONTROL_GO, &msg))
        return false;
    bell->rest_ms = msg.u.go.rest_ms;
    return vcpu_tick_put_off(&vm->vcpu[0]);
}

bool doorbell_may_release(const struct vm *vm)
{
    const struct vm_doorbell *bell = &vm->doorbell;
    bool quiet = (bell->flags & DOORBELL_FLAG_SKIP_KERNEL_WORK) != 0;
    bool parks_again = (bell->flags & DOORBELL_FLAG_PARK_AGAIN) != 0;

    return !bell->answer_due && !(quiet && (bell->ready_due || parks_again));
}

void doorbell_woken(struct vm *vm)
{
    vm->doorbell.wake_ns = now_ns();
}

/* Tells kernels that know ACPI's VM generation id that they are a clone: the new id, then its
 * event. It is delivered once the guest takes interrupts again. Kernels without ACPI, which is what
 * boots on a software-only KVM, would not hear it. */
static void announce_generation(struct vm *vm, const uint8_t generation_id[16])
{
    if (vm->kvm->software_only)
        return;
    guest_mem_write(&vm->mem, BOOT_VMGENID_GPA, generation_id, 16);
    vm_irq_pulse(vm, BOOT_VMGENID_GSI);
}

void doorbell_wake(struct vm *vm, const struct control_msg *wake, bool loaded)
{
    struct vm_doorbell *bell = &vm->doorbell;
    const struct control_network *network = &wake->u.wake.network;
    struct doorbell_mailbox *box = guest_mem_at(&vm->mem, DOORBELL_MAILBOX_GPA, sizeof *box);

    bell->loaded_ns = loaded ? now_ns() : bell->wake_ns;
    bell->op = wake->u.wake.op;
    bell->flags = wake->u.wake.flags;
    bell->nonce = wake->u.wake.nonce;
    memcpy(bell->generation_id, wake->u.wake.generation_id, sizeof bell->generation_id);
    bell->answer_due = true;
    bell->hold = (bell->flags & DOORBELL_FLAG_HOLD) != 0;
    bell->rest_ms = 0;
    bell->ready_due = bell->op == DOORBELL_OP_RESTORE;
    bell->function = (bell->flags & DOORBELL_FLAG_FUNCTION) != 0;
    bell->park_allowed = (bell->flags & (DOORBELL_FLAG_PARK_AGAIN | DOORBELL_FLAG_PARK_LATER)) != 0;

    struct doorbell_mailbox fresh = {
        .magic = DOORBELL_MAGIC,
        .version = DOORBELL_MAILBOX_VERSION,
        .op = bell->op,
        .flags = bell->flags,
        .nonce = bell->nonce,
        .wall_clock_ns = clock_ns(CLOCK_REALTIME),
        .ipv4_prefix_bits = network->prefix_bits,
        .ipv4_address = network->address,
        .ipv4_gateway = network->gateway,
        .ipv4_dns = network->dns,
    };
    memcpy(fresh.generation_id, wake->u.wake.generation_id, sizeof fresh.generation_id);
    memcpy(fresh.entropy, wake->u.wake.entropy, sizeof fresh.entropy);
    memcpy(fresh.hostname, wake->u.wake.hostname, sizeof fresh.hostname);
    fresh.hostname[sizeof fresh.hostname - 1] = '\0';
    memcpy(fresh.mac, network->mac, sizeof fresh.mac);
    memcpy(box, &fresh, sizeof fresh);
    if (bell->op == DOORBELL_OP_RESTORE)
        announce_generation(vm, fresh.generation_id);
}

/* ---- The guest's rings ---- */

/* Whether somebody has just got this VM (the word is the answer to a LEASE, or the READY after a
 * restore for an acquire), and its kernel is emulated: it has milliseconds of work now. Whoever
 * waits for that word, or for another VM's, gets the CPU first: it would else wait for the
 * scheduler's next tick. A function's has its call before it. */
static bool rests_after(const struct vm *vm, enum control_type word)
{
    bool leased =
        vm->doorbell.op == DOORBELL_OP_LEASE ? word == CONTROL_AWAKE : word == CONTROL_READY;

    return vm->kvm->software_only && leased &&
           !(vm->doorbell.flags & (DOORBELL_FLAG_PARK_AGAIN | DOORBELL_FLAG_FUNCTION));
}

static void report_and_rest(struct vm *vm, enum control_type word, uint64_t at_ns, uint64_t load_ns,
                            uint64_t run_ns)
{
    bool rests = rests_after(vm, word);

    if (rests)
        vm_rest_begin(vm); /* before it is told: what comes of it ends the rest */
    report(vm, word, at_ns, load_ns, run_ns);
    if (rests)
        vm_rest(vm, MAX_OF(LEASE_REST_MS, vm->doorbell.rest_ms));
}

/* The clock of every restore figure stops here. */
static enum doorbell_result ring_awake(struct vcpu *vcpu, uint32_t value)
{
    struct vm *vm = vcpu->vm;
    struct vm_doorbell *bell = &vm->doorbell;
    const struct doorbell_mailbox *box = guest_mem_at(&vm->mem, DOORBELL_MAILBOX_GPA, sizeof *box);
    uint64_t answer = *(const volatile uint64_t *)&box->answer;

    bell->awake_ns = now_ns();
    bell->answer_due = false;
    if (answer != doorbell_answer(bell->nonce, bell->generation_id) ||
        value != doorbell_ring_value(answer)) {
        vm_end(vm, EXIT_REASON_BAD_ANSWER, "the guest answered a wake with a wrong value");
        return DOORBELL_ENDED;
    }
    report_and_rest(vm, CONTROL_AWAKE, bell->awake_ns, bell->loaded_ns - bell->wake_ns,
                    bell->awake_ns - bell->loaded_ns);
    vm_introduce(vm);
    return DOORBELL_CONTINUE;
}

static enum doorbell_result ring_ready(struct vm *vm)
{
    struct vm_doorbell *bell = &vm->doorbell;
    uint64_t now = now_ns();

    bell->ready_due = false;
    report_and_rest(vm, CONTROL_READY, now, 0, now - bell->awake_ns);
    return DOORBELL_CONTINUE;
}

static enum doorbell_result write_port(struct vcpu *vcpu, uint16_t port, uint32_t value)
{
    struct vm *vm = vcpu->vm;
    struct vm_doorbell *bell = &vm->doorbell;

    if (bell->answer_due && port != DOORBELL_PORT_AWAKE) {
        vm_end(vm, EXIT_REASON_BAD_ANSWER, "the guest wrote doorbell port 0x%x before its answer",
               port);
        return DOORBELL_ENDED;
    }
    if (port == DOORBELL_PORT_AWAKE && bell->answer_due)
        return ring_awake(vcpu, value);
    if (port == DOORBELL_PORT_READY && bell->ready_due)
        return ring_ready(vm);
    if (port == FUNCTION_PORT_BELL && bell->function && !bell->ready_due)
        return function_bell_ring(vm, value);
    if (port == DOORBELL_PORT_PARK && bell->park_allowed) {
        bell->park_allowed = false;
        return DOORBELL_PARK;
    }
    if (port == DOORBELL_PORT_BANNER && bell->op == DOORBELL_OP_NONE && !bell->banner_told) {
        uint64_t now = now_ns();
        bell->banner_told = true;
        if (value == DOORBELL_BANNER_FAILED)
            report_trouble(vm);
        report(vm, CONTROL_BANNER, now, 0, now - vm->first_run_ns);
        return DOORBELL_CONTINUE;
    }
    atomic_fetch_add_explicit(&bell->ignored, 1, memory_order_relaxed);
    return DOORBELL_CONTINUE;
}

enum doorbell_result doorbell_access(struct vcpu *vcpu, uint16_t port, void *value, uint32_t bytes,
                                     bool is_write)
{
    /* Found from any: a guest can't know which of its CPUs a program that looks for it is on. */
    uint32_t word = port == DOORBELL_PORT_PARK ? DOORBELL_MAGIC : UINT32_MAX;

    if (bytes != sizeof word || (is_write && vcpu->index != 0)) {
        if (!is_write)
            memset(value, 0xff, bytes);
        atomic_fetch_add_explicit(&vcpu->vm->doorbell.ignored, 1, memory_order_relaxed);
        return DOORBELL_CONTINUE;
    }
    if (is_write) {
        memcpy(&word, value, sizeof word);
        return write_port(vcpu, port, word);
    }
    memcpy(value, &word, sizeof word);
    return DOORBELL_CONTINUE;
}
