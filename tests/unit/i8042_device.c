/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: the keyboard controller resets the machine when told to and only then, and gives Linux'
 * probing the answers that end it.
 * Method: the commands that Linux' i8042 driver sends, and all 256 of them.
 */
#include "devices/i8042.h"

#include "base/util.h"
#include "fake_vm.h"
#include "tap_main.h"

#define DATA 0u
#define COMMAND 4u

struct fixture {
    struct vm *vm;
    struct device *dev;
};

static void set_up(struct fixture *f)
{
    struct err err = { 0 };

    f->vm = fake_vm_create();
    ck_assert_int_eq(i8042_create(f->vm, &f->dev, &err), 0);
}

static void tear_down(struct fixture *f)
{
    f->dev->ops->destroy(f->dev);
    fake_vm_destroy(f->vm);
}

static bool output_full(struct fixture *f)
{
    return fake_read(f->dev, COMMAND, 1) & 0x01;
}

START_TEST(reset_command)
{
    struct fixture f;

    set_up(&f);
    ck_assert_uint_eq(fake_read(f.dev, COMMAND, 1) & 0x02, 0); /* Linux waits for this first */
    fake_write(f.dev, COMMAND, 0xfe, 1);
    ck_assert_uint_eq(f.vm->resets, 1);
    fake_write(f.dev, COMMAND, 0xd1, 1); /* the other way: output port, bit 0 clear */
    fake_write(f.dev, DATA, 0x02, 1);
    ck_assert_uint_eq(f.vm->resets, 2);
    tear_down(&f);
}
END_TEST

START_TEST(only_even_pulses_reset)
{
    struct fixture f;
    unsigned expected = 0;

    set_up(&f);
    for (unsigned command = 0; command < 256; command++) {
        fake_write(f.dev, COMMAND, command, 1);
        expected += command >= 0xf0 && !(command & 1);
        ck_assert_msg(f.vm->resets == expected, "command 0x%02x", command);
        fake_write(f.dev, DATA, 0xff, 1);
        ck_assert_uint_eq(f.vm->resets, expected);
        while (output_full(&f))
            fake_read(f.dev, DATA, 1);
    }
    fake_write(f.dev, COMMAND, 0xfefe, 2); /* bytes only */
    fake_write(f.dev, DATA, 0xfe, 1);
    fake_write(f.dev, 1, 0xfe, 1);
    ck_assert_uint_eq(f.vm->resets, expected);
    ck_assert_uint_eq(fake_read(f.dev, 2, 1), 0xff);
    ck_assert_uint_eq(fake_read(f.dev, DATA, 4), UINT32_MAX);
    tear_down(&f);
}
END_TEST

static const struct {
    uint8_t command, answer;
} probes[] = { { 0xaa, 0x55 }, { 0xab, 0x00 }, { 0xa9, 0x00 }, { 0xd0, 0x03 } };

START_TEST(probes_are_answered)
{
    struct fixture f;

    set_up(&f);
    ck_assert(!output_full(&f));
    fake_write(f.dev, COMMAND, probes[_i].command, 1);
    ck_assert(output_full(&f));
    ck_assert_uint_eq(fake_read(f.dev, DATA, 1), probes[_i].answer);
    ck_assert(!output_full(&f));
    tear_down(&f);
}
END_TEST

START_TEST(config_byte_survives_a_move)
{
    struct fixture f;
    struct device *old;
    struct err err = { 0 };

    set_up(&f);
    fake_write(f.dev, COMMAND, 0x60, 1);
    fake_write(f.dev, DATA, 0x45, 1);
    fake_write(f.dev, COMMAND, 0x20, 1);
    old = f.dev;
    ck_assert_int_eq(i8042_create(f.vm, &f.dev, &err), 0);
    ck_assert_int_eq(fake_vm_move(old, f.dev, &err), 0);
    old->ops->destroy(old);
    ck_assert(output_full(&f)); /* the answer was still to be read */
    ck_assert_uint_eq(fake_read(f.dev, DATA, 1), 0x45);
    tear_down(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("i8042_device");
    TCase *tests = tap_case(suite, "i8042");

    tcase_add_test(tests, reset_command);
    tcase_add_test(tests, only_even_pulses_reset);
    tcase_add_loop_test(tests, probes_are_answered, 0, ARRAY_LEN(probes));
    tcase_add_test(tests, config_byte_survives_a_move);
    return tap_main(suite);
}
