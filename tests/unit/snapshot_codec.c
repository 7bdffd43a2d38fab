/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: device tables and KVM state come back as they were; old versions load, newer and malformed
 * ones are refused by name.
 * Method: round trips of random contents, hand-made sections of every wrong length and version.
 */
#include "snapshot/state_codec.h"
#include "snapshot/vm_codec.h"

#include <stddef.h>

#include "snapshot_test.h"

struct toy {
    uint8_t flags;
    uint32_t index; /* of ring; post_load checks it */
    uint64_t counter;
    uint16_t ring[4];
    char text[5];
    uint32_t young;
    uint32_t not_saved;
};

static const struct state_field toy_fields[] = {
    STATE_FIELD(struct toy, flags, STATE_U8, 1, 1),
    STATE_FIELD(struct toy, index, STATE_U32, 1, 1),
    STATE_FIELD(struct toy, counter, STATE_U64, 1, 1),
    STATE_FIELD(struct toy, ring, STATE_U16, 4, 1),
    STATE_FIELD(struct toy, young, STATE_U32, 1, 2),
    STATE_FIELD(struct toy, text, STATE_BYTES, 5, 1),
};

static int toy_post_load(const void *state, struct err *err)
{
    const struct toy *toy = state;

    return toy->index < 4 ? 0 : err_set(err, EINVAL, "index %u, expected 0 to 3", toy->index);
}

static const struct state_desc toy_desc = { .name = "toy",
                                            .version = 2,
                                            .field_count = ARRAY_LEN(toy_fields),
                                            .field = toy_fields,
                                            .struct_bytes = sizeof(struct toy),
                                            .post_load = toy_post_load };

#define TOY_V1_BYTES 26u
#define TOY_V2_BYTES 30u

static void reader_of(struct state_builder *b, struct state_reader *ret_reader)
{
    struct err err = { 0 };
    uint8_t *bytes;
    size_t len;

    ck_ok(state_builder_finish(b, &bytes, &len, &err), err);
    ck_ok(state_reader_open(ret_reader, bytes, len, &err), err);
    state_builder_fini(b);
}

static void reader_of_section(struct state_reader *ret_reader, const char *name, uint32_t version,
                              const void *bytes, size_t len)
{
    struct state_builder b;

    state_builder_init(&b);
    state_builder_add(&b, name, version, 0, bytes, len);
    reader_of(&b, ret_reader);
}

START_TEST(toy_round_trip)
{
    const struct toy in = { .flags = 0x81,
                            .index = 3,
                            .counter = 0x0123456789abcdefull,
                            .ring = { 1, 2, 3, 0xfffe },
                            .text = "text",
                            .young = 77,
                            .not_saved = 99 };
    /* Byte-exact: little-endian, table order, no padding. */
    static const uint8_t expected[TOY_V2_BYTES] = { 0x81, 3,    0,    0,    0,    0xef, 0xcd, 0xab,
                                                    0x89, 0x67, 0x45, 0x23, 0x01, 1,    0,    2,
                                                    0,    3,    0,    0xfe, 0xff, 77,   0,    0,
                                                    0,    't',  'e',  'x',  't',  0 };
    struct state_builder b;
    struct state_reader r;
    struct state_section section;
    struct toy out;
    struct err err = { 0 };

    state_builder_init(&b);
    ck_assert_int_eq(state_encode(&b, "toy1", &toy_desc, &in), 0);
    reader_of(&b, &r);
    ck_ok(state_reader_find(&r, "toy1", &section, &err), err);
    ck_assert_uint_eq(section.len, sizeof expected);
    ck_assert_mem_eq(section.bytes, expected, sizeof expected);
    memset(&out, 0xee, sizeof out);
    ck_ok(state_decode(&r, "toy1", &toy_desc, &out, &err), err);
    ck_assert_uint_eq(out.counter, in.counter);
    ck_assert_mem_eq(out.ring, in.ring, sizeof in.ring);
    ck_assert_str_eq(out.text, "text");
    ck_assert_uint_eq(out.young, 77);
    ck_assert_uint_eq(out.not_saved, 0);
    state_reader_fini(&r);
}
END_TEST

START_TEST(toy_versions)
{
    uint8_t bytes[TOY_V2_BYTES + 8] = { 1, 2 };
    struct state_reader r;
    struct toy out;
    struct err err = { 0 };

    reader_of_section(&r, "toy", 1, bytes, TOY_V1_BYTES);
    memset(&out, 0xee, sizeof out);
    ck_ok(state_decode(&r, "toy", &toy_desc, &out, &err), err);
    ck_assert_uint_eq(out.index, 2);
    ck_assert_uint_eq(out.young, 0); /* absent in version 1 */
    state_reader_fini(&r);

    reader_of_section(&r, "toy", 3, bytes, TOY_V2_BYTES);
    ck_fails(state_decode(&r, "toy", &toy_desc, &out, &err), ENOTSUP, err, "'toy': version 3");
    state_reader_fini(&r);
    reader_of_section(&r, "toy", 0, bytes, 0);
    ck_fails(state_decode(&r, "toy", &toy_desc, &out, &err), EINVAL, err, "'toy': version 0");
    state_reader_fini(&r);
    for (size_t len = 0; len <= sizeof bytes; len++) {
        if (len == TOY_V2_BYTES)
            continue;
        reader_of_section(&r, "toy", 2, bytes, len);
        ck_fails(state_decode(&r, "toy", &toy_desc, &out, &err), EINVAL, err, "expected 30");
        state_reader_fini(&r);
    }
    bytes[1] = 4; /* index */
    reader_of_section(&r, "toy", 2, bytes, TOY_V2_BYTES);
    ck_fails(state_decode(&r, "toy", &toy_desc, &out, &err), EINVAL, err,
             "section 'toy': index 4, expected 0 to 3");
    ck_fails(state_decode(&r, "toy2", &toy_desc, &out, &err), ENOENT, err, "'toy2' is missing");
    state_reader_fini(&r);
}
END_TEST

/* A machine of random contents; counts and sizes valid. */
static void vm_make(struct vm_state *vm, uint32_t vcpus)
{
    random_bytes(vm, sizeof *vm);
    vm->vcpu_count = vcpus;
    vm->has_pit = 1;
    vm->vcpu = calloc(vcpus, sizeof *vm->vcpu);
    random_bytes(vm->vcpu, vcpus * sizeof *vm->vcpu);
    for (uint32_t i = 0; i < vcpus; i++) {
        struct vcpu_state *vcpu = &vm->vcpu[i];

        vcpu->xcrs.nr_xcrs = 1;
        vcpu->xsave_bytes = 4096 + 64 * i;
        vcpu->msr_count = 40 + i;
        vcpu->cpuid_count = 20 + i;
        memset(vcpu->msr + vcpu->msr_count, 0,
               sizeof vcpu->msr - vcpu->msr_count * sizeof vcpu->msr[0]);
        memset(vcpu->cpuid + vcpu->cpuid_count, 0,
               sizeof vcpu->cpuid - vcpu->cpuid_count * sizeof vcpu->cpuid[0]);
        memset(vcpu->xsave + vcpu->xsave_bytes, 0, sizeof vcpu->xsave - vcpu->xsave_bytes);
    }
}

START_TEST(vm_round_trip)
{
    for (uint32_t vcpus = 1; vcpus <= VM_VCPUS_MAX; vcpus += 7) {
        struct vm_state in, out;
        struct state_builder b;
        struct state_reader r;
        struct err err = { 0 };
        uint8_t *again;
        size_t again_len;

        vm_make(&in, vcpus);
        state_builder_init(&b);
        vm_state_encode(&b, &in);
        reader_of(&b, &r);
        ck_ok(vm_state_decode(&r, &out, &err), err);
        ck_ok(state_reader_check_used(&r, &err), err);
        for (uint32_t i = 0; i < r.section_count; i++)
            ck_assert(vm_state_section(state_reader_at(&r, i).name));
        ck_assert(!vm_state_section("uart") && !vm_state_section("cpu.regs") &&
                  !vm_state_section("cpu0.other") && !vm_state_section("cpu0"));
        ck_assert_uint_eq(out.vcpu_count, vcpus);
        ck_assert_mem_eq(&out.clock, &in.clock, sizeof in.clock);
        ck_assert_mem_eq(&out.pic_slave, &in.pic_slave, sizeof in.pic_slave);
        ck_assert_mem_eq(&out.ioapic, &in.ioapic, sizeof in.ioapic);
        ck_assert_mem_eq(&out.pit, &in.pit, sizeof in.pit);
        for (uint32_t i = 0; i < vcpus; i++) {
            ck_assert_mem_eq(&out.vcpu[i].sregs, &in.vcpu[i].sregs, sizeof in.vcpu[i].sregs);
            ck_assert_uint_eq(out.vcpu[i].tsc_khz, in.vcpu[i].tsc_khz);
            ck_assert_uint_eq(out.vcpu[i].xsave_bytes, in.vcpu[i].xsave_bytes);
            ck_assert_uint_eq(out.vcpu[i].msr_count, in.vcpu[i].msr_count);
            ck_assert_mem_eq(out.vcpu[i].xsave, in.vcpu[i].xsave, sizeof in.vcpu[i].xsave);
        }
        /* The rest: what was read makes the same file again, byte for byte. */
        state_builder_init(&b);
        vm_state_encode(&b, &out);
        ck_ok(state_builder_finish(&b, &again, &again_len, &err), err);
        ck_assert_uint_eq(again_len, r.len);
        ck_assert_mem_eq(again, r.bytes, again_len);
        free(again);
        state_builder_fini(&b);
        state_reader_fini(&r);
        vm_state_fini(&out);
        vm_state_fini(&in);
    }
}
END_TEST

/* Every section in turn left out, one byte shorter, one longer, or of another version. */
START_TEST(vm_sections_damaged)
{
    enum { LEFT_OUT, SHORTER, LONGER, NEWER, CHANGES };
    struct vm_state in, out;
    struct state_builder whole;
    struct state_reader good, r;
    struct err err = { 0 };
    unsigned cases = 0;

    vm_make(&in, 1);
    state_builder_init(&whole);
    vm_state_encode(&whole, &in);
    reader_of(&whole, &good);
    for (uint32_t victim = 0; victim < good.section_count; victim++) {
        for (unsigned change = 0; change < CHANGES; change++, cases++) {
            struct state_builder b;
            static uint8_t bytes[65536];

            state_builder_init(&b);
            for (uint32_t i = 0; i < good.section_count; i++) {
                struct state_section s = state_reader_at(&good, i);
                bool hit = i == victim;

                memcpy(bytes, s.bytes, s.len);
                if (hit && change == LEFT_OUT)
                    continue;
                s.len += hit && change == LONGER ? 1 : hit && change == SHORTER ? -1u : 0;
                state_builder_add(&b, s.name, s.version + (hit && change == NEWER), 0, bytes,
                                  (uint32_t)s.len);
            }
            reader_of(&b, &r);
            const char *name = state_reader_at(&good, victim).name;
            int rc = vm_state_decode(&r, &out, &err);
            /* xsave is counted in bytes: one more is another valid size. */
            if (change == LONGER && strcmp(name, "cpu0.xsave") == 0) {
                ck_ok(rc, err);
                vm_state_fini(&out);
            } else {
                ck_assert_msg(rc < 0 && strstr(err.msg, name), "%s, change %u: %d '%s'", name,
                              change, rc, err.msg);
            }
            state_reader_fini(&r);
        }
    }
    state_reader_fini(&good);
    vm_state_fini(&in);
    test_note("%u damaged machine states tried", cases);
}
END_TEST

START_TEST(vm_counts_out_of_range)
{
    static const uint32_t bad[][2] = {
        { 0, 0 }, { VM_VCPUS_MAX + 1, 0 }, { UINT32_MAX, 1 }, { 1, 2 }
    };
    struct vm_state out;
    struct state_reader r;
    struct err err = { 0 };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        reader_of_section(&r, "vm", 1, bad[i], sizeof bad[i]);
        ck_fails(vm_state_decode(&r, &out, &err), EINVAL, err, "section 'vm'");
        state_reader_fini(&r);
    }
}
END_TEST

int main(void)
{
    const TTest *const tests[] = { toy_round_trip, toy_versions, vm_round_trip, vm_sections_damaged,
                                   vm_counts_out_of_range };

    return test_main("snapshot_codec", tests, ARRAY_LEN(tests));
}
