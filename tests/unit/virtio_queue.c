/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: a virtqueue hands out exactly what the driver offered, and no ring, however hostile, makes
 * it loop, reach outside guest memory or use a value it has not checked.
 * Method: rings written by hand into fake guest memory, one broken rule at a time; a thread that
 * rewrites descriptors while they are read.
 */
#include "virtio/virtq.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "base/util.h"
#include "tap_main.h"
#include "virtio_driver.h"

#define NUM 8u
#define BUFFER_GPA 0x200000u

/* A driver's queue without a device: the virtq is set up directly. */
struct fixture {
    struct vm *vm;
    struct virtio_driver driver;
    struct virtq vq;
    struct virtq_chain chain;
};

static void set_up(struct fixture *f, bool event_idx)
{
    memset(f, 0, sizeof(*f));
    f->vm = fake_vm_create();
    f->driver.vm = f->vm;
    f->driver.next_gpa = 0x100000;
    struct driver_queue *q = &f->driver.queue[0];
    q->num = NUM;
    q->desc_gpa = driver_alloc(&f->driver, 16 * NUM);
    q->avail_gpa = driver_alloc(&f->driver, 6 + 2 * NUM);
    q->used_gpa = driver_alloc(&f->driver, 6 + 8 * NUM);
    for (uint16_t i = NUM; i-- > 0;)
        q->free[q->free_count++] = i;
    f->vq = (struct virtq){ .mem = &f->vm->mem,
                            .num = NUM,
                            .desc_gpa = q->desc_gpa,
                            .avail_gpa = q->avail_gpa,
                            .used_gpa = q->used_gpa,
                            .event_idx = event_idx };
    ck_assert_int_eq(virtq_start(&f->vq), 0);
}

static void tear_down(struct fixture *f)
{
    fake_vm_destroy(f->vm);
}

static void desc(struct fixture *f, uint16_t i, gpa_t gpa, uint32_t bytes, uint16_t flags,
                 uint16_t next)
{
    driver_write_desc(&f->driver, 0, i, gpa, bytes, flags, next);
}

START_TEST(chain_comes_out_as_it_went_in)
{
    struct fixture f;
    const struct driver_buffer buffers[] = { { BUFFER_GPA, 100 },
                                             { BUFFER_GPA + 4096, 7 },
                                             { BUFFER_GPA + 8192, 4096 } };
    uint16_t head;
    uint32_t bytes;

    set_up(&f, false);
    ck_assert_int_eq(virtq_pop(&f.vq, &f.chain), 0);
    uint16_t offered = driver_add(&f.driver, 0, buffers, 2, 1);
    ck_assert_int_eq(virtq_pop(&f.vq, &f.chain), 1);
    ck_assert_uint_eq(f.chain.head, offered);
    ck_assert_uint_eq(f.chain.out_count, 2);
    ck_assert_uint_eq(f.chain.in_count, 1);
    ck_assert_uint_eq(f.chain.out_bytes, 107);
    ck_assert_uint_eq(f.chain.in_bytes, 4096);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_ptr_eq(f.chain.iov[i].iov_base, driver_at(&f.driver, buffers[i].gpa));
        ck_assert_uint_eq(f.chain.iov[i].iov_len, buffers[i].bytes);
    }
    ck_assert_int_eq(virtq_pop(&f.vq, &f.chain), 0);
    virtq_push(&f.vq, f.chain.head, 33);
    ck_assert(!driver_used(&f.driver, 0, &head, &bytes)); /* not before the flush */
    ck_assert(virtq_flush(&f.vq));
    ck_assert(!virtq_flush(&f.vq));
    ck_assert(driver_used(&f.driver, 0, &head, &bytes));
    ck_assert_uint_eq(head, offered);
    ck_assert_uint_eq(bytes, 33);
    tear_down(&f);
}
END_TEST

START_TEST(unpop_gives_the_chain_again)
{
    struct fixture f;
    const struct driver_buffer buffer = { BUFFER_GPA, 1 };

    set_up(&f, false);
    driver_add(&f.driver, 0, &buffer, 1, 0);
    ck_assert_int_eq(virtq_pop(&f.vq, &f.chain), 1);
    virtq_unpop(&f.vq);
    ck_assert_int_eq(virtq_pop(&f.vq, &f.chain), 1);
    ck_assert_int_eq(virtq_pop(&f.vq, &f.chain), 0);
    tear_down(&f);
}
END_TEST

START_TEST(indices_wrap)
{
    struct fixture f;
    const struct driver_buffer buffer = { BUFFER_GPA, 4 };
    uint16_t head;
    uint32_t bytes;

    set_up(&f, _i == 1);
    for (unsigned i = 0; i < 70000; i++) {
        driver_add(&f.driver, 0, &buffer, 1, 0);
        ck_assert_int_eq(virtq_pop(&f.vq, &f.chain), 1);
        virtq_push(&f.vq, f.chain.head, i);
        ck_assert(virtq_flush(&f.vq));
        ck_assert(driver_used(&f.driver, 0, &head, &bytes));
        ck_assert_uint_eq(bytes, i);
    }
    tear_down(&f);
}
END_TEST

/* ---- Hostile rings: one broken rule each. ---- */

static void bad_head(struct fixture *f)
{
    driver_offer(&f->driver, 0, NUM);
}

static void bad_head_max(struct fixture *f)
{
    driver_offer(&f->driver, 0, UINT16_MAX);
}

static void self_loop(struct fixture *f)
{
    desc(f, 0, BUFFER_GPA, 4, DESC_NEXT, 0);
    driver_offer(&f->driver, 0, 0);
}

static void long_loop(struct fixture *f)
{
    for (uint16_t i = 0; i < NUM; i++)
        desc(f, i, BUFFER_GPA, 4, DESC_NEXT, (uint16_t)((i + 1) % NUM));
    driver_offer(&f->driver, 0, 3);
}

static void bad_next(struct fixture *f)
{
    desc(f, 0, BUFFER_GPA, 4, DESC_NEXT, NUM);
    driver_offer(&f->driver, 0, 0);
}

static void outside(struct fixture *f)
{
    desc(f, 0, GUEST_RAM_BYTES_MIN, 1, 0, 0);
    driver_offer(&f->driver, 0, 0);
}

static void across_the_end(struct fixture *f)
{
    desc(f, 0, GUEST_RAM_BYTES_MIN - 4, 8, DESC_WRITE, 0);
    driver_offer(&f->driver, 0, 0);
}

static void wraps_around(struct fixture *f)
{
    desc(f, 0, UINT64_MAX - 3, 8, 0, 0);
    driver_offer(&f->driver, 0, 0);
}

static void zero_length(struct fixture *f)
{
    desc(f, 0, BUFFER_GPA, 0, 0, 0);
    driver_offer(&f->driver, 0, 0);
}

static void indirect(struct fixture *f)
{
    desc(f, 0, BUFFER_GPA, 32, DESC_INDIRECT, 0);
    driver_offer(&f->driver, 0, 0);
}

static void out_after_in(struct fixture *f)
{
    desc(f, 0, BUFFER_GPA, 4, DESC_WRITE | DESC_NEXT, 1);
    desc(f, 1, BUFFER_GPA, 4, 0, 0);
    driver_offer(&f->driver, 0, 0);
}

static void index_jumps(struct fixture *f)
{
    desc(f, 0, BUFFER_GPA, 4, 0, 0);
    f->driver.queue[0].next_avail = NUM; /* claims NUM + 1 */
    driver_offer(&f->driver, 0, 0);
}

static const struct {
    const char *name;
    void (*offer)(struct fixture *f);
} hostile[] = {
    { "head just out of range", bad_head },
    { "head far out of range", bad_head_max },
    { "descriptor that is its own next", self_loop },
    { "loop through all descriptors", long_loop },
    { "next out of range", bad_next },
    { "buffer outside memory", outside },
    { "buffer across the end of memory", across_the_end },
    { "buffer that wraps around", wraps_around },
    { "empty buffer", zero_length },
    { "indirect table, not negotiated", indirect },
    { "readable after writable", out_after_in },
    { "more chains than the ring holds", index_jumps },
};

START_TEST(hostile_ring_breaks_and_stays_broken)
{
    struct fixture f;
    const struct driver_buffer good = { BUFFER_GPA, 4 };

    set_up(&f, false);
    hostile[_i].offer(&f);
    ck_assert_msg(virtq_pop(&f.vq, &f.chain) == -EPROTO, "%s", hostile[_i].name);
    f.driver.queue[0].next_avail = f.vq.next_avail;
    driver_add(&f.driver, 0, &good, 1, 0);
    ck_assert_int_eq(virtq_pop(&f.vq, &f.chain), -EPROTO);
    virtq_push(&f.vq, 0, 0);
    ck_assert(!virtq_flush(&f.vq));
    virtq_reset(&f.vq);
    ck_assert_int_eq(virtq_pop(&f.vq, &f.chain), 0);
    tear_down(&f);
}
END_TEST

START_TEST(bad_rings_are_not_started)
{
    struct fixture f;

    set_up(&f, false);
    const struct virtq good = f.vq;
    const struct {
        uint16_t num;
        gpa_t desc_gpa, avail_gpa, used_gpa;
    } bad[] = {
        { 0, good.desc_gpa, good.avail_gpa, good.used_gpa },
        { 3, good.desc_gpa, good.avail_gpa, good.used_gpa },
        { 512, good.desc_gpa, good.avail_gpa, good.used_gpa },
        { NUM, good.desc_gpa + 8, good.avail_gpa, good.used_gpa },
        { NUM, good.desc_gpa, good.avail_gpa + 1, good.used_gpa },
        { NUM, good.desc_gpa, good.avail_gpa, good.used_gpa + 2 },
        { NUM, GUEST_RAM_BYTES_MIN - 16, good.avail_gpa, good.used_gpa },
        { NUM, good.desc_gpa, UINT64_MAX - 1, good.used_gpa },
        { NUM, good.desc_gpa, good.avail_gpa, GUEST_RAM_BYTES_MIN },
    };
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        struct virtq vq = { .mem = good.mem,
                            .num = bad[i].num,
                            .desc_gpa = bad[i].desc_gpa,
                            .avail_gpa = bad[i].avail_gpa,
                            .used_gpa = bad[i].used_gpa };
        ck_assert_msg(virtq_start(&vq) == -EINVAL && !vq.ready, "case %u", i);
    }
    tear_down(&f);
}
END_TEST

struct flipper {
    struct fixture *f;
    atomic_bool stop;
};

static void *flip(void *arg)
{
    struct flipper *flipper = arg;

    for (unsigned i = 0; !atomic_load(&flipper->stop); i++)
        desc(flipper->f, 0, i & 1 ? BUFFER_GPA : UINT64_MAX - i, i & 2 ? 16 : UINT32_MAX,
             i & 4 ? 0 : DESC_NEXT, (uint16_t)i);
    return NULL;
}

START_TEST(descriptor_changed_while_read)
{
    struct fixture f;
    struct flipper flipper = { .f = &f };
    pthread_t thread;
    unsigned taken = 0;

    set_up(&f, false);
    uint8_t *ram = driver_at(&f.driver, 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, flip, &flipper), 0);
    uint64_t deadline_ns = now_ns() + 20 * NS_PER_S; /* the other thread may be slow to start */
    for (unsigned i = 0; i < 200000 || (taken < 1000 && now_ns() < deadline_ns); i++) {
        driver_offer(&f.driver, 0, 0);
        int rc = virtq_pop(&f.vq, &f.chain);
        f.vq.broken = false;
        f.vq.next_avail = f.driver.queue[0].next_avail;
        if (rc <= 0)
            continue;
        taken++;
        for (unsigned j = 0; j < f.chain.out_count; j++) {
            const uint8_t *base = f.chain.iov[j].iov_base;
            ck_assert(base >= ram && base + f.chain.iov[j].iov_len <= ram + GUEST_RAM_BYTES_MIN);
        }
    }
    atomic_store(&flipper.stop, true);
    pthread_join(thread, NULL);
    ck_assert_uint_ge(taken, 1000);
    tear_down(&f);
}
END_TEST

/* ---- Notifications. ---- */

START_TEST(no_interrupt_flag_is_honoured)
{
    struct fixture f;
    const struct driver_buffer buffer = { BUFFER_GPA, 4 };

    set_up(&f, false);
    uint16_t *avail = driver_at(&f.driver, f.vq.avail_gpa);
    avail[0] = 1;
    driver_add(&f.driver, 0, &buffer, 1, 0);
    ck_assert_int_eq(virtq_pop(&f.vq, &f.chain), 1);
    virtq_push(&f.vq, f.chain.head, 0);
    ck_assert(!virtq_flush(&f.vq));
    const uint16_t *used = driver_at(&f.driver, f.vq.used_gpa);
    ck_assert_uint_eq(used[1], 1); /* published all the same */
    virtq_want_notify(&f.vq, false);
    ck_assert_uint_eq(used[0], 1);
    ck_assert(!virtq_want_notify(&f.vq, true));
    ck_assert_uint_eq(used[0], 0);
    tear_down(&f);
}
END_TEST

START_TEST(event_index_decides)
{
    static const struct {
        uint16_t from, count, used_event;
        bool interrupt;
    } cases[] = {
        { 0, 1, 0, true },     { 0, 1, 1, false },     { 0, 4, 3, true },
        { 0, 4, 4, false },    { 5, 2, 4, false },     { 65534, 4, 65535, true },
        { 65534, 4, 1, true }, { 65534, 4, 2, false }, { 65534, 4, 65533, false },
    };

    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        struct fixture f;

        set_up(&f, true);
        uint16_t *avail = driver_at(&f.driver, f.vq.avail_gpa);
        avail[2 + NUM] = cases[i].used_event;
        f.vq.next_used = f.vq.published = cases[i].from;
        for (unsigned n = 0; n < cases[i].count; n++)
            virtq_push(&f.vq, 0, 0);
        ck_assert_msg(virtq_flush(&f.vq) == cases[i].interrupt, "case %u", i);
        tear_down(&f);
    }
}
END_TEST

START_TEST(want_notify_sees_what_came_before)
{
    struct fixture f;
    const struct driver_buffer buffer = { BUFFER_GPA, 4 };

    set_up(&f, true);
    ck_assert(!virtq_want_notify(&f.vq, true));
    driver_add(&f.driver, 0, &buffer, 1, 0);
    ck_assert(virtq_want_notify(&f.vq, true));
    ck_assert_int_eq(virtq_pop(&f.vq, &f.chain), 1);
    ck_assert(!virtq_want_notify(&f.vq, true));
    const uint16_t *used = driver_at(&f.driver, f.vq.used_gpa);
    ck_assert_uint_eq(used[2 + 4 * NUM], 1); /* avail_event */
    tear_down(&f);
}
END_TEST

START_TEST(iov_copies_any_slice)
{
    uint8_t a[3], b[5], c[4], in[12], out[12];
    const struct iovec iov[] = { { a, sizeof(a) }, { b, sizeof(b) }, { c, sizeof(c) } };

    for (unsigned i = 0; i < sizeof(in); i++)
        in[i] = (uint8_t)(i + 1);
    for (uint32_t offset = 0; offset <= 12; offset++) {
        for (uint32_t bytes = 0; bytes <= 12; bytes++) {
            uint32_t fits = MIN_OF(bytes, 12 - offset);

            memset(a, 0, sizeof(a));
            memset(b, 0, sizeof(b));
            memset(c, 0, sizeof(c));
            memset(out, 0, sizeof(out));
            ck_assert_uint_eq(virtq_iov_write(iov, 3, offset, in, bytes), fits);
            ck_assert_uint_eq(virtq_iov_read(iov, 3, offset, out, bytes), fits);
            ck_assert_mem_eq(out, in, fits);
            ck_assert_uint_eq(virtq_iov_read(iov, 3, 0, out, 12), 12);
            for (uint32_t i = 0; i < 12; i++)
                ck_assert_uint_eq(out[i], i >= offset && i < offset + fits ? in[i - offset] : 0);
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("virtio_queue");
    TCase *tests = tap_case(suite, "virtq");

    tcase_add_test(tests, chain_comes_out_as_it_went_in);
    tcase_add_test(tests, unpop_gives_the_chain_again);
    tcase_add_loop_test(tests, indices_wrap, 0, 2);
    tcase_add_loop_test(tests, hostile_ring_breaks_and_stays_broken, 0, ARRAY_LEN(hostile));
    tcase_add_test(tests, bad_rings_are_not_started);
    tcase_add_test(tests, descriptor_changed_while_read);
    tcase_add_test(tests, no_interrupt_flag_is_honoured);
    tcase_add_test(tests, event_index_decides);
    tcase_add_test(tests, want_notify_sees_what_came_before);
    tcase_add_test(tests, iov_copies_any_slice);
    return tap_main(suite);
}
