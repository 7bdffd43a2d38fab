/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: the virtio-mmio transport keeps its side of virtio 1.2 section 4.2 against drivers right
 * and wrong, and its saved state comes back whole or is refused. The entropy device is what stands
 * behind it here, and is tested with it.
 * Method: a scripted driver, single registers, random accesses with moves in between.
 */
#include "virtio/virtio_mmio.h"

#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "tap_main.h"
#include "virtio/rng.h"
#include "virtio_driver.h"

#define STATUS 0x070u
#define NUM 16u

struct fixture {
    struct vm *vm;
    struct device *dev;
    struct virtio_driver driver;
};

static void set_up(struct fixture *f, uint64_t features)
{
    struct err err = { 0 };

    memset(f, 0, sizeof(*f));
    f->vm = fake_vm_create();
    ck_assert_msg(rng_create(f->vm, 1, &f->dev, &err) == 0, "%s", err.msg);
    ck_assert(driver_start(&f->driver, f->vm, f->dev, features, 1, NUM));
    fake_vm_run(f->vm, 10);
}

static void tear_down(struct fixture *f)
{
    f->dev->ops->destroy(f->dev);
    ck_assert_uint_eq(f->vm->polls, 0);
    fake_vm_destroy(f->vm);
}

static uint32_t get(struct fixture *f, unsigned offset)
{
    return fake_read(f->dev, offset, 4);
}

static void put(struct fixture *f, unsigned offset, uint32_t value)
{
    fake_write(f->dev, offset, value, 4);
}

/* Asks for bytes random bytes; returns how many bytes came that are not zero. */
static unsigned ask_random(struct fixture *f, uint32_t bytes, uint32_t expected)
{
    gpa_t gpa = driver_alloc(&f->driver, bytes);
    const struct driver_buffer buffers[] = { { gpa, bytes / 2 },
                                             { gpa + bytes / 2, bytes - bytes / 2 } };
    unsigned not_zero = 0;
    uint16_t head;
    uint32_t got;

    driver_add(&f->driver, 0, buffers, 0, 2);
    driver_notify(&f->driver, 0);
    fake_vm_run(f->vm, 10);
    ck_assert(driver_used(&f->driver, 0, &head, &got));
    ck_assert_uint_eq(got, expected);
    const uint8_t *at = driver_at(&f->driver, gpa);
    for (uint32_t i = 0; i < bytes; i++)
        not_zero += at[i] != 0;
    return not_zero;
}

START_TEST(random_bytes_arrive)
{
    struct fixture f;

    set_up(&f, _i ? VIRTIO_FEATURE_EVENT_IDX : 0);
    ck_assert_uint_gt(ask_random(&f, 1000, 1000), 900);
    ck_assert_uint_eq(driver_interrupts(&f.driver), 1);
    ck_assert_uint_le(ask_random(&f, 3 * RNG_REQUEST_MAX, RNG_REQUEST_MAX), RNG_REQUEST_MAX);
    ck_assert_uint_eq(driver_interrupts(&f.driver), 1);
    tear_down(&f);
}
END_TEST

START_TEST(batch_is_one_interrupt)
{
    struct fixture f;
    uint16_t head;
    uint32_t got;

    set_up(&f, VIRTIO_FEATURE_EVENT_IDX);
    const struct driver_buffer buffer = { driver_alloc(&f.driver, 64), 64 };
    for (unsigned i = 0; i < NUM; i++)
        driver_add(&f.driver, 0, &buffer, 0, 1);
    driver_notify(&f.driver, 0);
    driver_notify(&f.driver, 0);
    fake_vm_run(f.vm, 10);
    for (unsigned i = 0; i < NUM; i++)
        ck_assert(driver_used(&f.driver, 0, &head, &got));
    ck_assert_uint_eq(driver_interrupts(&f.driver), 1);
    tear_down(&f);
}
END_TEST

START_TEST(identity_registers)
{
    struct fixture f;

    set_up(&f, 0);
    ck_assert_uint_eq(get(&f, 0x000), 0x74726976);
    ck_assert_uint_eq(get(&f, 0x004), 2);
    ck_assert_uint_eq(get(&f, 0x008), 4);
    ck_assert_uint_eq(get(&f, 0x034), VIRTQ_NUM_MAX);
    ck_assert_uint_eq(get(&f, 0x0b0), UINT32_MAX);       /* no shared memory: length -1 */
    ck_assert_uint_eq(get(&f, 0x100), UINT32_MAX);       /* no config space */
    ck_assert_uint_eq(fake_read(f.dev, 0x000, 1), 0xff); /* whole registers only */
    ck_assert_uint_eq(fake_read(f.dev, 0x000, 2), 0xffff);
    put(&f, 0x030, 1);
    ck_assert_uint_eq(get(&f, 0x034), 0); /* there is no queue 1 */
    ck_assert_uint_eq(f.dev->base, 0xd0001000);
    ck_assert_uint_eq(f.dev->gsi, 6);
    tear_down(&f);
}
END_TEST

static void negotiate(struct fixture *f, uint32_t low, uint32_t high)
{
    put(f, STATUS, 0);
    put(f, STATUS, 1 | 2);
    put(f, 0x024, 0);
    put(f, 0x020, low);
    put(f, 0x024, 1);
    put(f, 0x020, high);
    put(f, STATUS, 1 | 2 | 8);
}

START_TEST(features_are_checked)
{
    struct fixture f;

    set_up(&f, 0);
    negotiate(&f, 0, 0); /* a legacy driver */
    ck_assert_uint_eq(get(&f, STATUS), 1 | 2);
    put(&f, STATUS, 1 | 2 | 4);
    ck_assert_uint_eq(get(&f, STATUS), 1 | 2); /* no DRIVER_OK without FEATURES_OK */
    negotiate(&f, 1u << 28, 1);                /* indirect descriptors, not offered */
    ck_assert_uint_eq(get(&f, STATUS), 1 | 2);
    negotiate(&f, 1u << 29, 1);
    ck_assert_uint_eq(get(&f, STATUS), 1 | 2 | 8);
    put(&f, 0x020, 0xffffffff); /* too late */
    put(&f, STATUS, 1 | 2 | 8 | 4);
    ck_assert_uint_eq(get(&f, STATUS), 1 | 2 | 8 | 4);
    put(&f, STATUS, 1); /* bits are not taken back */
    ck_assert_uint_eq(get(&f, STATUS), 1 | 2 | 8 | 4);
    put(&f, STATUS, 64); /* not the driver's to set */
    ck_assert_uint_eq(get(&f, STATUS), 1 | 2 | 8 | 4);
    tear_down(&f);
}
END_TEST

START_TEST(queue_registers_are_locked_while_ready)
{
    struct fixture f;

    set_up(&f, 0);
    put(&f, 0x080, 0xffffffff);
    put(&f, 0x038, 3);
    ck_assert_uint_gt(ask_random(&f, 64, 64), 32);
    put(&f, 0x044, 0);
    ck_assert_uint_eq(get(&f, 0x044), 0);
    put(&f, 0x044, 1);
    ck_assert_uint_eq(get(&f, 0x044), 1);
    put(&f, 0x044, 0);
    put(&f, 0x084, 0xffffffff);
    put(&f, 0x044, 1); /* rings outside memory */
    ck_assert_uint_eq(get(&f, 0x044), 0);
    ck_assert(get(&f, STATUS) & VIRTIO_STATUS_NEEDS_RESET);
    tear_down(&f);
}
END_TEST

START_TEST(broken_ring_needs_a_reset)
{
    struct fixture f;

    set_up(&f, 0);
    driver_interrupts(&f.driver);
    driver_offer(&f.driver, 0, NUM);
    driver_notify(&f.driver, 0);
    fake_vm_run(f.vm, 10);
    ck_assert(driver_status(&f.driver) & VIRTIO_STATUS_NEEDS_RESET);
    ck_assert_uint_eq(get(&f, 0x060), 2); /* told by a config interrupt */
    ck_assert_uint_eq(driver_interrupts(&f.driver), 1);
    driver_notify(&f.driver, 0);
    fake_vm_run(f.vm, 10);
    ck_assert_uint_eq(driver_interrupts(&f.driver), 0);
    ck_assert(driver_start(&f.driver, f.vm, f.dev, 0, 1, NUM));
    ck_assert_uint_gt(ask_random(&f, 64, 64), 32);
    tear_down(&f);
}
END_TEST

START_TEST(notify_storm_is_one_wake_up)
{
    struct fixture f;

    set_up(&f, 0);
    for (unsigned i = 0; i < 100000; i++)
        put(&f, 0x050, i); /* most of them for queues there are not */
    ck_assert_uint_le(fake_vm_run(f.vm, 100), 1);
    tear_down(&f);
}
END_TEST

/* ---- Saved state. ---- */

static void move_to_new(struct fixture *f)
{
    struct device *old = f->dev;
    struct err err = { 0 };

    ck_assert_int_eq(rng_create(f->vm, 1, &f->dev, &err), 0);
    atomic_store(&f->vm->pulses[old->gsi], 0);
    ck_assert_msg(fake_vm_move(old, f->dev, &err) == 0, "%s", err.msg);
    old->ops->destroy(old);
    driver_follow(&f->driver, f->dev);
}

START_TEST(moved_with_a_request_on_its_way)
{
    struct fixture f;
    uint16_t head;
    uint32_t got;

    set_up(&f, _i ? VIRTIO_FEATURE_EVENT_IDX : 0);
    ask_random(&f, 64, 64);
    driver_interrupts(&f.driver);
    const struct driver_buffer buffer = { driver_alloc(&f.driver, 64), 64 };
    driver_add(&f.driver, 0, &buffer, 0, 1);
    driver_notify(&f.driver, 0); /* nobody has looked yet */
    move_to_new(&f);
    ck_assert(driver_used(&f.driver, 0, &head, &got)); /* served before saving */
    ck_assert_uint_eq(got, 64);
    ck_assert_uint_ge(driver_interrupts(&f.driver), 1); /* told again, for the edge may be lost */
    ck_assert_uint_eq(fake_vm_run(f.vm, 10), 0);
    ck_assert_uint_gt(ask_random(&f, 100, 100), 50);
    move_to_new(&f);
    ck_assert_uint_gt(ask_random(&f, 100, 100), 50);
    tear_down(&f);
}
END_TEST

START_TEST(moved_at_rest_is_silent)
{
    struct fixture f;

    set_up(&f, VIRTIO_FEATURE_EVENT_IDX);
    ask_random(&f, 64, 64);
    driver_interrupts(&f.driver);
    move_to_new(&f);
    ck_assert_uint_eq(driver_interrupts(&f.driver), 0);
    ck_assert_uint_eq(fake_vm_run(f.vm, 10), 0);
    tear_down(&f);
}
END_TEST

/* Each field of the state set to all ones in turn: refused with a sentence, or harmless. */
START_TEST(wrong_state_is_refused_or_harmless)
{
    struct fixture f;
    unsigned refused = 0;

    set_up(&f, 0);
    const struct state_desc *desc = f.dev->ops->desc;
    for (unsigned i = 0; i < desc->field_count; i++) {
        const struct state_field *field = &desc->field[i];
        _cleanup_free_ uint8_t *state = calloc(1, desc->struct_bytes);
        struct device *other = NULL;
        struct err err = { 0 };

        ck_assert_int_eq(rng_create(f.vm, 2, &other, &err), 0);
        f.dev->ops->save(f.dev, state);
        memset(state + field->offset, 0xff, (size_t)field->kind * field->count);
        int rc = desc->post_load(state, &err);
        if (rc == 0)
            rc = other->ops->load(other, state, &err);
        ck_assert_msg(rc == 0 || err.msg[0] != '\0', "%s: no sentence", field->name);
        refused += rc != 0;
        for (unsigned queue = 0; queue < 4; queue++)
            fake_write(other, 0x050, queue, 4);
        fake_vm_run(f.vm, 10);
        other->ops->destroy(other);
    }
    ck_assert_uint_ge(refused, 9);
    tear_down(&f);
}
END_TEST

START_TEST(random_accesses_do_no_harm)
{
    struct fixture f;
    unsigned seed = 7;

    set_up(&f, 0);
    for (unsigned i = 0; i < 200000; i++) {
        unsigned r = (unsigned)rand_r(&seed);
        unsigned offset = (r >> 4) & 0x1fc;
        uint32_t value = r & 2 ? (uint32_t)rand_r(&seed) : (r >> 20) & 0x1ff;

        if (r & 1)
            fake_write(f.dev, offset, value, 4);
        else
            fake_read(f.dev, offset + (r >> 30), 1u << ((r >> 2) & 3));
        if (i % 16 == 0)
            fake_vm_run(f.vm, 2);
        if (i % 10000 == 0)
            move_to_new(&f);
    }
    ck_assert(driver_start(&f.driver, f.vm, f.dev, 0, 1, NUM));
    fake_vm_run(f.vm, 10);
    ck_assert_uint_gt(ask_random(&f, 64, 64), 32);
    tear_down(&f);
}
END_TEST

START_TEST(no_slot_beyond_the_last)
{
    struct vm *vm = fake_vm_create();
    struct device *dev = NULL;
    struct err err = { 0 };

    ck_assert_int_eq(rng_create(vm, VIRTIO_MMIO_SLOT_COUNT, &dev, &err), -ENOSPC);
    ck_assert_ptr_null(dev);
    fake_vm_destroy(vm);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("virtio_transport");
    TCase *tests = tap_case(suite, "transport");

    tcase_add_loop_test(tests, random_bytes_arrive, 0, 2);
    tcase_add_test(tests, batch_is_one_interrupt);
    tcase_add_test(tests, identity_registers);
    tcase_add_test(tests, features_are_checked);
    tcase_add_test(tests, queue_registers_are_locked_while_ready);
    tcase_add_test(tests, broken_ring_needs_a_reset);
    tcase_add_test(tests, notify_storm_is_one_wake_up);
    tcase_add_loop_test(tests, moved_with_a_request_on_its_way, 0, 2);
    tcase_add_test(tests, moved_at_rest_is_silent);
    tcase_add_test(tests, wrong_state_is_refused_or_harmless);
    tcase_add_test(tests, random_accesses_do_no_harm);
    tcase_add_test(tests, no_slot_beyond_the_last);
    return tap_main(suite);
}
