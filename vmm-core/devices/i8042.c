/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the keyboard controller's two registers; see i8042.h.
 *
 * It answers the controller's commands that Linux and firmware probe with (self-test, interface
 * tests, the configuration byte) and acknowledges nothing that is sent to a keyboard or mouse: none
 * is plugged in. One byte of output is held, as in the chip. No interrupts: nobody types.
 */
#include "devices/i8042.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>

#include "base/util.h"

#define DATA_OFFSET 0u
#define COMMAND_OFFSET 4u

#define STATUS_OUTPUT_FULL 0x01u
#define STATUS_SYSTEM 0x04u  /* self-test passed */
#define STATUS_COMMAND 0x08u /* the last write was a command */
#define STATUS_UNLOCKED 0x10u

#define COMMAND_READ_CONFIG 0x20u
#define COMMAND_WRITE_CONFIG 0x60u
#define COMMAND_SELF_TEST 0xaau
#define COMMAND_PULSE_FIRST 0xf0u /* 0xf0 to 0xff pulse the output lines whose bits are 0 */
#define PULSE_LINE_RESET 0x01u

/* Saved. */
struct i8042_state {
    uint8_t config;
    uint8_t output; /* valid while output_full */
    uint8_t output_full;
    uint8_t command; /* waiting for its data byte; 0: none */
    uint8_t last_was_command;
};

struct i8042 {
    struct device device;
    pthread_mutex_t lock;
    struct i8042_state state;
};

static const struct {
    uint8_t command;
    uint8_t answer;
} answers[] = {
    { COMMAND_SELF_TEST, 0x55 }, /* passed */
    { 0xab, 0x00 },              /* keyboard interface test: no fault */
    { 0xa9, 0x00 },              /* mouse interface test: no fault */
    { 0xc0, 0x00 },              /* input port */
    { 0xd0, 0x03 },              /* output port: not in reset, A20 on */
};

static void answer(struct i8042 *kbc, uint8_t byte)
{
    kbc->state.output = byte;
    kbc->state.output_full = 1;
}

/* Returns whether the guest asked for a reset. */
static bool run_command(struct i8042 *kbc, uint8_t command)
{
    kbc->state.command = 0;
    kbc->state.last_was_command = 1;
    if (command >= COMMAND_PULSE_FIRST)
        return !(command & PULSE_LINE_RESET);
    if (command == COMMAND_READ_CONFIG)
        answer(kbc, kbc->state.config);
    /* 0xd1 to 0xd4 and WRITE_CONFIG are followed by a data byte. */
    if (command == COMMAND_WRITE_CONFIG || (command >= 0xd1 && command <= 0xd4))
        kbc->state.command = command;
    for (unsigned i = 0; i < ARRAY_LEN(answers); i++) {
        if (answers[i].command == command)
            answer(kbc, answers[i].answer);
    }
    return false;
}

static bool take_data(struct i8042 *kbc, uint8_t byte)
{
    uint8_t command = kbc->state.command;

    kbc->state.command = 0;
    kbc->state.last_was_command = 0;
    if (command == COMMAND_WRITE_CONFIG)
        kbc->state.config = byte;
    if (command == 0xd2 || command == 0xd3) /* "as if the keyboard (mouse) had sent it" */
        answer(kbc, byte);
    return command == 0xd1 && !(byte & PULSE_LINE_RESET);
}

static void i8042_read(struct device *dev, uint64_t offset, void *value, uint32_t bytes)
{
    struct i8042 *kbc = (struct i8042 *)dev;
    uint8_t *byte = value;

    memset(value, 0xff, bytes);
    if (bytes != 1)
        return;
    pthread_mutex_lock(&kbc->lock);
    if (offset == COMMAND_OFFSET) {
        *byte = STATUS_SYSTEM | STATUS_UNLOCKED;
        *byte |= kbc->state.output_full ? STATUS_OUTPUT_FULL : 0;
        *byte |= kbc->state.last_was_command ? STATUS_COMMAND : 0;
    } else if (offset == DATA_OFFSET) {
        *byte = kbc->state.output;
        kbc->state.output_full = 0;
    }
    pthread_mutex_unlock(&kbc->lock);
}

static void i8042_write(struct device *dev, uint64_t offset, const void *value, uint32_t bytes)
{
    struct i8042 *kbc = (struct i8042 *)dev;
    uint8_t byte = *(const uint8_t *)value;
    bool reset = false;

    if (bytes != 1)
        return;
    pthread_mutex_lock(&kbc->lock);
    if (offset == COMMAND_OFFSET)
        reset = run_command(kbc, byte);
    else if (offset == DATA_OFFSET)
        reset = take_data(kbc, byte);
    pthread_mutex_unlock(&kbc->lock);
    if (reset)
        vm_guest_reset(dev->vm);
}

static const struct state_field i8042_fields[] = {
    STATE_FIELD(struct i8042_state, config, STATE_U8, 1, 1),
    STATE_FIELD(struct i8042_state, output, STATE_U8, 1, 1),
    STATE_FIELD(struct i8042_state, output_full, STATE_U8, 1, 1),
    STATE_FIELD(struct i8042_state, command, STATE_U8, 1, 1),
    STATE_FIELD(struct i8042_state, last_was_command, STATE_U8, 1, 1),
};

static const struct state_desc i8042_desc = {
    .name = "i8042",
    .version = 1,
    .field_count = ARRAY_LEN(i8042_fields),
    .field = i8042_fields,
    .struct_bytes = sizeof(struct i8042_state),
};

static void i8042_save(struct device *dev, void *ret_state)
{
    struct i8042 *kbc = (struct i8042 *)dev;

    pthread_mutex_lock(&kbc->lock);
    *(struct i8042_state *)ret_state = kbc->state;
    pthread_mutex_unlock(&kbc->lock);
}

static int i8042_load(struct device *dev, const void *state, struct err *err)
{
    struct i8042 *kbc = (struct i8042 *)dev;

    (void)err;
    pthread_mutex_lock(&kbc->lock);
    kbc->state = *(const struct i8042_state *)state;
    pthread_mutex_unlock(&kbc->lock);
    return 0;
}

static void i8042_destroy(struct device *dev)
{
    struct i8042 *kbc = (struct i8042 *)dev;

    if (!kbc)
        return;
    pthread_mutex_destroy(&kbc->lock);
    free(kbc);
}

static const struct dev_ops i8042_ops = {
    .name = "i8042",
    .read = i8042_read,
    .write = i8042_write,
    .desc = &i8042_desc,
    .save = i8042_save,
    .load = i8042_load,
    .destroy = i8042_destroy,
};

int i8042_create(struct vm *vm, struct device **ret_device, struct err *err)
{
    struct i8042 *kbc = calloc(1, sizeof(*kbc));

    if (!kbc)
        return err_set(err, ENOMEM, "no memory for the keyboard controller");
    pthread_mutex_init(&kbc->lock, NULL);
    kbc->device = (struct device){ .ops = &i8042_ops,
                                   .vm = vm,
                                   .bus = BUS_PIO,
                                   .base = I8042_PIO_BASE,
                                   .bytes = I8042_PIO_BYTES,
                                   .name = "i8042" };
    *ret_device = &kbc->device;
    return 0;
}
