/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: snapshots of every released format version stay readable, and the current version is still
 * written byte for byte as it was released.
 * Method: golden/v1 and v2 hold a small snapshot as it was made by this program's `--generate DIR`
 * when that version was the current one. The test upgrades and reads the first with today's
 * library, reads the second, and makes that again and compares.
 */
#include <stddef.h>

#include "golden.h"
#include "snapshot/opened.h"
#include "snapshot/state_codec.h"
#include "snapshot/upgrade/store_upgrade.h"
#include "snapshot/vm_codec.h"

/* ---- What is in it ---- */

struct golden_device {
    uint8_t line_control;
    uint32_t queue_ready;
    uint64_t ring_gpa[2];
    char name[6];
};

static const struct state_field golden_fields[] = {
    STATE_FIELD(struct golden_device, line_control, STATE_U8, 1, 1),
    STATE_FIELD(struct golden_device, queue_ready, STATE_U32, 1, 1),
    STATE_FIELD(struct golden_device, ring_gpa, STATE_U64, 2, 1),
    STATE_FIELD(struct golden_device, name, STATE_BYTES, 6, 1),
};

static const struct state_desc golden_desc = { .name = "golden",
                                               .version = 1,
                                               .field_count = ARRAY_LEN(golden_fields),
                                               .field = golden_fields,
                                               .struct_bytes = sizeof(struct golden_device) };

static const struct golden_device golden_device = { .line_control = 0x83,
                                                    .queue_ready = 0x01020304,
                                                    .ring_gpa = { 0x1000, 0xfedcba9876543210 },
                                                    .name = "golden" };

/* Bytes that are the same everywhere and for ever: a 64-bit LCG (Knuth's constants). */
static void fill(void *bytes, size_t len, uint64_t seed)
{
    uint8_t *at = bytes;

    for (size_t i = 0; i < len; i++) {
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        at[i] = (uint8_t)(seed >> 56);
    }
}

static void vm_fill(struct vm_state *vm)
{
    struct vcpu_state *cpu = calloc(1, sizeof *cpu);

    memset(vm, 0, sizeof *vm);
    vm->vcpu_count = 1;
    vm->has_pit = 1;
    fill(&vm->clock, sizeof vm->clock, 1);
    fill(&vm->pic_master, sizeof vm->pic_master, 2);
    fill(&vm->pic_slave, sizeof vm->pic_slave, 3);
    fill(&vm->ioapic, sizeof vm->ioapic, 4);
    fill(&vm->pit, sizeof vm->pit, 5);
    fill(&cpu->regs, sizeof cpu->regs, 6);
    fill(&cpu->sregs, sizeof cpu->sregs, 7);
    fill(&cpu->lapic, sizeof cpu->lapic, 8);
    fill(&cpu->events, sizeof cpu->events, 9);
    cpu->xcrs.nr_xcrs = 1;
    cpu->xcrs.xcrs[0].value = 7;
    cpu->tsc_khz = 2500000;
    cpu->xsave_bytes = 4096;
    fill(cpu->xsave, 512, 10);
    cpu->msr_count = 3;
    fill(cpu->msr, 3 * sizeof cpu->msr[0], 11);
    cpu->cpuid_count = 2;
    fill(cpu->cpuid, 2 * sizeof cpu->cpuid[0], 12);
    vm->vcpu = cpu;
}

static void manifest_fill(struct manifest *m)
{
    test_manifest_fill(m);
    m->format_version = MANIFEST_FORMAT_VERSION;
    fill(&m->id, sizeof m->id, 13);
    strcpy(m->created, "2026-11-21T20:00:00Z");
    strcpy(m->cpu.vendor, "GoldenVendor"); /* no host is that: open refuses, all else reads */
    strcpy(m->cpu.model_name, "Golden CPU @ 2.50GHz");
    m->cpu.family = 25;
    m->cpu.model = 17;
    m->cpu.stepping = 1;
    m->cpu.software_only_kvm = true;
    strcpy(m->device[0], "golden0");
    m->device_count = 1;
    strcpy(m->warmup, "true");
}

static const uint64_t golden_pages[] = { 0, MIB(2) - 4096, MIB(8), TEST_RAM_BYTES - 4096 };

static void memory_fill(int fd)
{
    uint8_t page[HOST_PAGE_BYTES];

    ck_assert_int_eq(ftruncate(fd, (off_t)TEST_RAM_BYTES), 0);
    for (size_t i = 0; i < ARRAY_LEN(golden_pages); i++) {
        memset(page, 0, sizeof page);
        fill(page, 64, 20 + i);
        ck_assert_int_eq(pwrite_all(fd, page, sizeof page, golden_pages[i]), 0);
    }
}

/* ---- Making it ---- */

static void make_state(int dirfd, struct manifest *m)
{
    struct state_builder b;
    struct vm_state vm;
    struct err err = { 0 };
    uint8_t *bytes;
    size_t len;

    vm_fill(&vm);
    state_builder_init(&b);
    vm_state_encode(&b, &vm);
    state_encode(&b, "golden0", &golden_desc, &golden_device);
    state_builder_add(&b, "note", 1, STATE_FLAG_OPTIONAL, "optional", 8);
    ck_ok(state_builder_finish(&b, &bytes, &len, &err), err);
    m->state_bytes = len;
    m->state_digest = digest_of(bytes, len);
    ck_ok(snapshot_file_create(dirfd, SNAPSHOT_FILE_STATE, bytes, len, &err), err);
    free(bytes);
    state_builder_fini(&b);
    vm_state_fini(&vm);
}

static void make_memory(int dirfd, struct manifest *m)
{
    struct err err = { 0 };
    int fd = openat(dirfd, SNAPSHOT_FILE_MEMORY, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    memory_fill(fd);
    ck_ok(snapshot_memory_seal(dirfd, fd, m->memory_bytes, &m->memory_digest, &m->memory_data_bytes,
                               &err),
          err);
    m->memory_data_bytes = ARRAY_LEN(golden_pages) * HOST_PAGE_BYTES; /* whatever the block size */
    close(fd);
}

static void golden_make(int dirfd)
{
    struct working_set_range ranges[] = { { 0, 1 }, { 511, 1 | WORKING_SET_WRITTEN }, { 2048, 9 } };
    struct working_set set = { ranges, ARRAY_LEN(ranges) };
    struct manifest *m = malloc(sizeof *m);
    struct err err = { 0 };
    char *text;
    size_t len;

    manifest_fill(m);
    make_state(dirfd, m);
    make_memory(dirfd, m);
    ck_ok(working_set_store(dirfd, &m->id, &set, &err), err);
    ck_ok(manifest_format(m, &text, &len, &err), err);
    ck_ok(snapshot_file_create(dirfd, SNAPSHOT_FILE_MANIFEST, text, len, &err), err);
    free(text);
    free(m);
}

/* ---- The tests ---- */

static void check_machine(int dirfd, const struct manifest *m)
{
    struct state_reader *r = malloc(sizeof *r);
    struct vm_state vm, expected_vm;
    struct golden_device device;
    struct err err = { 0 };

    ck_ok(snapshot_state_load(dirfd, m, r, &err), err);
    ck_ok(vm_state_decode(r, &vm, &err), err);
    ck_ok(state_decode(r, "golden0", &golden_desc, &device, &err), err);
    ck_ok(state_reader_check_used(r, &err), err);
    vm_fill(&expected_vm);
    ck_assert_mem_eq(vm.vcpu, expected_vm.vcpu, sizeof *vm.vcpu);
    ck_assert_mem_eq(&vm.ioapic, &expected_vm.ioapic, sizeof vm.ioapic);
    ck_assert_uint_eq(device.ring_gpa[1], golden_device.ring_gpa[1]);
    ck_assert_mem_eq(device.name, golden_device.name, sizeof device.name);
    vm_state_fini(&vm);
    vm_state_fini(&expected_vm);
    state_reader_fini(r);
    free(r);
}

static void check_memory(int dirfd)
{
    int fd = openat(dirfd, SNAPSHOT_FILE_MEMORY, O_RDONLY | O_CLOEXEC);
    uint8_t expected[64], found[64];

    for (size_t i = 0; i < ARRAY_LEN(golden_pages); i++) {
        fill(expected, sizeof expected, 20 + i);
        ck_assert_int_eq(pread_all(fd, found, sizeof found, golden_pages[i]), 0);
        ck_assert_mem_eq(found, expected, sizeof expected);
    }
    ck_assert_int_eq(lseek(fd, 0, SEEK_END), TEST_RAM_BYTES);
    close(fd);
}

/* Whatever version it once was of, and but for what an upgrade can't know: *ret_manifest. */
static void check_snapshot(int dirfd, struct manifest *ret_manifest)
{
    struct snapshot_opened *t = malloc(sizeof *t);
    struct manifest *m = ret_manifest, *expected = malloc(sizeof *expected);
    struct snapshot_verify_report report;
    struct working_set set;
    struct err err = { 0 };

    ck_ok(snapshot_verify(dirfd, NULL, NULL, &report, &err), err);
    ck_ok(manifest_load(dirfd, m, &err), err);
    manifest_fill(expected);
    ck_assert_mem_eq(&m->id, &expected->id, sizeof m->id);
    ck_assert_str_eq(m->created, expected->created);
    ck_assert_str_eq(m->cmdline, expected->cmdline);
    ck_assert_str_eq(m->warmup, "true");
    ck_assert_str_eq(m->device[0], "golden0");
    ck_assert_uint_eq(m->cpu.family, 25);
    ck_assert_uint_eq(m->cold_boot_ms, 11000);
    check_machine(dirfd, m);
    check_memory(dirfd);
    ck_ok(working_set_load(dirfd, &m->id, m->memory_bytes, &set, &err), err);
    ck_assert_uint_eq(working_set_bytes(&set), 11 * 4096);
    ck_fails(snapshot_open(dirfd, t, &err), ENOTSUP, err, "GoldenVendor");
    working_set_fini(&set);
    free(expected);
    free(t);
}

static void count_step(void *data, const struct upgrade_step *step)
{
    unsigned *ended = data;

    ck_assert_msg(!step->err, "%s", step->err ? step->err->msg : "");
    ck_assert_str_eq(step->name, "old");
    *ended += step->done_bytes == step->total_bytes;
}

START_TEST(v1_is_upgraded)
{
    struct manifest *m = malloc(sizeof *m);
    unsigned ended = 0;
    const struct upgrade_log log = { count_step, &ended };
    struct snapshot_info *info = malloc(sizeof *info);
    struct err err = { 0 };
    char path[256];
    int store = test_dir_make(path);

    ck_assert_int_eq(mkdirat(store, "old", 0700), 0);
    int dirfd = openat(store, "old", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    golden_unpack("v1", dirfd);
    ck_fails(manifest_load(dirfd, m, &err), ENOTSUP, err,
             "format_version 1, expected 2: poold upgrades the snapshots of its store");
    close(dirfd);
    ck_ok(snapshot_inspect(store, "old", info, &err), err);
    ck_assert_int_eq(info->error.code, ENOTSUP);
    snapshot_store_upgrade(store, NULL, &log);
    ck_assert_uint_eq(ended, 1);
    ck_assert_uint_eq(test_dir_count(store), 1);

    ck_ok(snapshot_dir_open(store, "old", &dirfd, &err), err);
    check_snapshot(dirfd, m);
    ck_assert(digest_is_none(&m->kernel.digest) && digest_is_none(&m->initrd.digest));
    golden_compare(dirfd, SNAPSHOT_FILE_STATE, "v2/state");
    golden_compare(dirfd, SNAPSHOT_FILE_WORKING_SET, "v2/working-set");
    golden_compare(dirfd, SNAPSHOT_FILE_MEMORY_DIGESTS, "v2/memory.digests");
    golden_pack(dirfd, SNAPSHOT_FILE_MEMORY);
    golden_compare(dirfd, "memory.img.pages", "v2/memory.img.pages");
    snapshot_store_upgrade(store, NULL, &log);
    ck_assert_uint_eq(ended, 1); /* there is nothing to do */
    free(m);
    free(info);
    close(dirfd);
    test_dir_remove(store, path);
}
END_TEST

START_TEST(v2_is_read)
{
    struct manifest *m = malloc(sizeof *m);
    char path[256];
    int dirfd = test_dir_make(path);

    golden_unpack("v2", dirfd);
    check_snapshot(dirfd, m);
    free(m);
    test_dir_remove(dirfd, path);
}
END_TEST

static const char *const kept_files[] = { SNAPSHOT_FILE_MANIFEST, SNAPSHOT_FILE_STATE,
                                          SNAPSHOT_FILE_MEMORY ".pages",
                                          SNAPSHOT_FILE_MEMORY_DIGESTS, SNAPSHOT_FILE_WORKING_SET };

START_TEST(v2_is_written_as_released)
{
    char path[256], golden_name[64];
    int dirfd = test_dir_make(path);

    golden_make(dirfd);
    golden_pack(dirfd, SNAPSHOT_FILE_MEMORY);
    for (size_t i = 0; i < ARRAY_LEN(kept_files); i++) {
        snprintf(golden_name, sizeof golden_name, "v2/%s", kept_files[i]);
        golden_compare(dirfd, kept_files[i], golden_name);
    }
    test_dir_remove(dirfd, path);
}
END_TEST

static const char *generate_dir;

/* Check's assertions work only inside a test, so making the files is one. */
START_TEST(generate)
{
    int dirfd = open(generate_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    ck_assert_msg(dirfd >= 0, "%s: %s", generate_dir, strerror(errno));
    golden_make(dirfd);
    golden_pack(dirfd, SNAPSHOT_FILE_MEMORY);
    close(dirfd);
}
END_TEST

int main(int argc, char **argv)
{
    const TTest *const tests[] = { v1_is_upgraded, v2_is_read, v2_is_written_as_released };

    if (argc == 3 && strcmp(argv[1], "--generate") == 0) {
        generate_dir = argv[2];
        return test_main("snapshot_golden", &generate, 1);
    }
    return test_main("snapshot_golden", tests, ARRAY_LEN(tests));
}
