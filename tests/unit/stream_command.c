/* SPDX-License-Identifier: Apache-2.0 */
/* The command in the streams' world; see stream_command.h. */
#include "stream_command.h"

#include <signal.h>
#include <string.h>

#define PIECE_MAX 70000u
#define CONTROL_D 4
#define WAIT_EXITED(code) ((code) << 8)

struct command command;

void command_init(bool terminal, bool has_stdin)
{
    pid_t pid = command.pid;

    memset(&command, 0, sizeof(command));
    command.pid = pid + 100;
    command.terminal = terminal;
    command.has_stdin = has_stdin;
    lane_init(&command.in, world.plan->pipe_capacity);
    lane_init(&command.out[0], world.plan->pipe_capacity);
    lane_init(&command.out[1], world.plan->pipe_capacity);
}

static void command_end(int killed_by)
{
    command.running = false;
    command.background = world.plan->leaves_writer && killed_by == 0;
    command.wait_status = killed_by ? killed_by : WAIT_EXITED(world.plan->exit_code);
    world.outcome.ended = true;
    world.outcome.killed_by = killed_by;
    lane_abandon(&command.in);
}

void command_signal(int signal)
{
    if (command.running && (signal == SIGKILL || !world.plan->ignores_signals))
        command_end(signal);
}

static bool command_writes(unsigned which)
{
    uint64_t *written = &world.outcome.written[which];
    uint32_t left = world.plan->output_bytes[which] - (uint32_t)*written;
    uint8_t piece[PIECE_MAX];
    struct lane *lane = &command.out[which];

    if (world.plan->first == FIRST_OUTPUT || left == 0 || (which == 0 && world.plan->echoes) ||
        (!lane->abandoned && lane_room(lane) == 0))
        return false;
    if (lane->abandoned) {
        command_end(SIGPIPE);
        return true;
    }
    uint32_t bytes = 1 + model_choose(left < PIECE_MAX ? left : PIECE_MAX);
    for (uint32_t i = 0; i < bytes; i++)
        piece[i] = model_byte(which + 1, *written + i);
    *written += lane_put(lane, piece, bytes);
    return true;
}

/* The line discipline: an end-of-file key behind a line, or behind another, is the end. Returns how
 * many bytes there are before it. */
static size_t terminal_take(const uint8_t *piece, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        if (piece[i] != CONTROL_D) {
            command.in_line = piece[i] != '\n';
            continue;
        }
        if (bytes != i + 1)
            model_fail("bytes behind the end-of-file key");
        world.outcome.saw_end |= !command.in_line;
        command.in_line = false;
        return i;
    }
    return bytes;
}

static bool echoes(void)
{
    return world.plan->echoes && world.plan->first != FIRST_OUTPUT;
}

static void command_takes(const uint8_t *piece, size_t bytes)
{
    for (size_t i = 0; i < bytes && !world.plan->any_request; i++)
        if (piece[i] != model_byte(0, world.outcome.read + i))
            model_fail("stdin has a wrong byte at %llu",
                       (unsigned long long)world.outcome.read + i);
    world.outcome.read += bytes;
    if (echoes())
        world.outcome.written[0] += lane_put(&command.out[0], piece, bytes);
}

static bool command_reads(void)
{
    uint8_t piece[PIECE_MAX];
    struct lane *in = &command.in, *out = &command.out[0];
    size_t bytes = PIECE_MAX;

    if (world.outcome.saw_end || in->abandoned)
        return false;
    if (!command.has_stdin && !command.terminal) {
        world.outcome.saw_end = true; /* /dev/null */
        return true;
    }
    if (in->bytes == 0) {
        world.outcome.saw_end = in->ended && !command.terminal;
        return world.outcome.saw_end;
    }
    if (echoes())
        bytes = lane_room(out);
    if (bytes == 0 && !out->abandoned)
        return false;
    if (out->abandoned && echoes()) {
        command_end(SIGPIPE);
        return true;
    }
    /* A byte at a time near its end: keys count only where they are pressed. */
    bytes = lane_take(in, piece, command.terminal ? 1 : 1 + model_choose((uint32_t)bytes));
    command_takes(piece, command.terminal ? terminal_take(piece, bytes) : bytes);
    return true;
}

static bool command_exits(void)
{
    const struct plan *plan = world.plan;
    bool written =
        plan->first == FIRST_OUTPUT || (plan->output_bytes[0] <= world.outcome.written[0] &&
                                        plan->output_bytes[1] <= world.outcome.written[1]);
    bool must_read = plan->reads_to_end || plan->echoes;

    if (plan->hangs || !written || (must_read && !world.outcome.saw_end && !command.in.abandoned))
        return false;
    command_end(0);
    return true;
}

static bool command_first(void)
{
    command.first_done = true;
    if (world.plan->first == FIRST_STDIN)
        lane_abandon(&command.in);
    if (world.plan->first == FIRST_OUTPUT && command.terminal)
        lane_end(&command.out[0]); /* nobody has it open any more: it hangs up */
    if (world.plan->first == FIRST_EXIT)
        command_end(0);
    return true;
}

/* Goes on where the command stopped writing. */
static bool background_writes(void)
{
    static uint8_t piece[64];
    struct lane *lane = &command.out[0];
    uint64_t at = world.outcome.written[0] + command.background_bytes;

    if (!command.background || world.plan->first == FIRST_OUTPUT || lane->abandoned ||
        lane_room(lane) == 0)
        return false;
    for (size_t i = 0; i < sizeof(piece); i++)
        piece[i] = model_byte(world.plan->echoes ? 0 : 1, at + i);
    command.background_bytes += lane_put(lane, piece, 1 + model_choose(sizeof(piece)));
    return true;
}

bool command_step(void)
{
    if (!command.started)
        return false;
    if (!command.running) {
        if (command.terminal && !command.out[0].ended) {
            lane_end(&command.out[0]); /* the terminal hangs up */
            return true;
        }
        return background_writes();
    }
    if (!command.first_done)
        return command_first();
    switch (model_choose(4)) {
    case 0:
        return command_writes(0) || command_writes(1) || command_reads() || command_exits();
    case 1:
        return command_writes(1) || command_reads() || command_writes(0) || command_exits();
    case 2:
        return command_reads() || command_writes(0) || command_writes(1) || command_exits();
    default:
        return command_exits() || command_reads() || command_writes(1) || command_writes(0);
    }
}
