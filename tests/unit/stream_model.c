/* SPDX-License-Identifier: Apache-2.0 */
/* The streams' world: choices, lanes, steps and what must hold at the end; see stream_model.h. */
#include "stream_model.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEPS_MAX 20000000u /* far more than any run takes */
#define PIECE_MAX 70000u

struct world world;

/* ---- Choices ---- */

static uint64_t first_seed, random_state;
static const uint8_t *choices;
static size_t choices_left;

void model_choices(uint64_t seed, const uint8_t *input, size_t input_bytes)
{
    first_seed = seed;
    random_state = seed * 2 + 1;
    choices = input;
    choices_left = input_bytes;
}

/* xorshift64* */
static uint32_t random_next(void)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (uint32_t)((random_state * 0x2545f4914f6cdd1dull) >> 32);
}

uint32_t model_choose(uint32_t n)
{
    if (choices_left == 0)
        return random_next() % n;
    choices_left--;
    return (uint32_t)(*choices++ * 16777619u) % n;
}

bool model_chance(uint32_t percent)
{
    return model_choose(100) < percent;
}

void model_fail(const char *what, ...)
{
    va_list args;

    fprintf(stderr, "seed %llu, step %llu: ", (unsigned long long)first_seed,
            (unsigned long long)world.steps);
    va_start(args, what);
    vfprintf(stderr, what, args);
    va_end(args);
    fputc('\n', stderr);
    abort();
}

/* Small and large ones alike. */
static uint32_t choose_size(uint32_t max)
{
    static const uint32_t sizes[] = { 1, 7, 100, 4096, 5000, 65536, 300000 };
    uint32_t size = sizes[model_choose(sizeof(sizes) / sizeof(sizes[0]))];

    return size < max ? size : max;
}

/* ---- Lanes ---- */

void lane_init(struct lane *lane, size_t capacity)
{
    memset(lane, 0, sizeof(*lane));
    lane->capacity = capacity;
}

static void tell(void (*what)(void *), const struct lane_ends *ends)
{
    if (what)
        what(ends->context);
}

size_t lane_put(struct lane *lane, const uint8_t *data, size_t bytes)
{
    size_t room = lane_room(lane), was = lane->bytes;

    if (bytes > room)
        bytes = room;
    for (size_t i = 0; i < bytes; i++)
        lane->data[(lane->at + lane->bytes++) % LANE_BYTES_MAX] = data[i];
    if (was == 0 && bytes > 0)
        tell(lane->reader.readable, &lane->reader);
    return bytes;
}

size_t lane_take(struct lane *lane, uint8_t *ret_data, size_t bytes)
{
    if (bytes > lane->bytes)
        bytes = lane->bytes;
    for (size_t i = 0; i < bytes; i++) {
        ret_data[i] = lane->data[lane->at];
        lane->at = (lane->at + 1) % LANE_BYTES_MAX;
    }
    lane->bytes -= bytes;
    if (bytes > 0 && lane->met_full) {
        lane->met_full = false;
        tell(lane->writer.writable, &lane->writer);
    }
    return bytes;
}

void lane_end(struct lane *lane)
{
    if (lane->ended)
        return;
    lane->ended = true;
    tell(lane->reader.readable, &lane->reader);
}

void lane_abandon(struct lane *lane)
{
    if (lane->abandoned)
        return;
    lane->abandoned = true;
    lane->bytes = 0;
    tell(lane->writer.writable, &lane->writer);
}

/* ---- Plans ---- */

static size_t choose_capacity(void)
{
    static const size_t capacities[] = { 1, 9, 64, 1000, 4096, LANE_BYTES_MAX };

    return capacities[model_choose(sizeof(capacities) / sizeof(capacities[0]))];
}

static uint32_t output_max(const struct plan *plan)
{
    size_t least = plan->wire_capacity;

    least = plan->pipe_capacity < least ? plan->pipe_capacity : least;
    least = plan->out_capacity < least ? plan->out_capacity : least;
    /* So that no run takes many more steps than others. */
    return least < 64 ? 300 : least < 4096 ? 20000 : 300000;
}

void plan_choose(struct plan *plan)
{
    memset(plan, 0, sizeof(*plan));
    plan->wire_capacity = choose_capacity();
    plan->pipe_capacity = choose_capacity();
    plan->out_capacity = choose_capacity();
    plan->terminal = model_chance(25);
    plan->interactive = model_chance(50);
    plan->stdin_bytes = plan->interactive && model_chance(80) ? choose_size(output_max(plan)) : 0;
    plan->echoes = plan->interactive && model_chance(40);
    for (int i = 0; i < 2; i++)
        if (model_chance(70) && !(i == 1 && plan->terminal) && !(i == 0 && plan->echoes))
            plan->output_bytes[i] = choose_size(output_max(plan));
    plan->reads_to_end = plan->interactive && model_chance(50);
    plan->first = model_chance(30) ? (enum stream_first)model_choose(FIRST_COUNT) : FIRST_NONE;
    plan->exit_code = (uint8_t)model_choose(256);
    plan->request_bytes = model_chance(20) ? choose_size(output_max(plan)) : 0;
    plan->signals = model_chance(25) ? 1 + model_choose(5) : 0;
    plan->ignores_signals = model_chance(30);
    /* All that a pipe may hold comes through then. */
    plan->leaves_writer = model_chance(15) && !plan->terminal && output_max(plan) > PIECE_MAX;
    plan->hangs = model_chance(10);
    plan->timeout_ms = plan->hangs || model_chance(10) ? 1000 : 0;
    plan->kill_after_ms = model_chance(50) ? 500 : 0;
    for (int i = 0; i < 2; i++)
        plan->reader_leaves[i] = model_chance(5);
    plan->connection_breaks = model_chance(8);
    plan->pauses = model_chance(50);
}

/* ---- Steps ---- */

static bool wire_move(enum wire_direction direction)
{
    struct lane *from = &world.sent[direction], *to = &world.come[direction];
    uint8_t piece[PIECE_MAX];
    size_t room = lane_room(to);

    if (from->bytes > 0 && room > 0) {
        size_t bytes = 1 + model_choose((uint32_t)(from->bytes < room ? from->bytes : room));

        lane_put(to, piece, lane_take(from, piece, bytes));
        return true;
    }
    if (from->ended && !to->ended && from->bytes == 0) {
        lane_end(to);
        return true;
    }
    if (to->abandoned && !from->abandoned) {
        lane_abandon(from);
        return true;
    }
    return false;
}

static bool user_types(void)
{
    uint8_t piece[PIECE_MAX];
    uint32_t left = world.plan->stdin_bytes - (uint32_t)world.typed, bytes;

    if (world.user_in.ended)
        return false;
    if (left == 0) {
        lane_end(&world.user_in);
        return true;
    }
    if (lane_room(&world.user_in) == 0)
        return false;
    bytes = 1 + model_choose(left < PIECE_MAX ? left : PIECE_MAX);
    for (uint32_t i = 0; i < bytes; i++)
        piece[i] = model_byte(0, world.typed + i);
    world.typed += lane_put(&world.user_in, piece, bytes);
    return true;
}

static bool user_reads(unsigned which)
{
    struct lane *lane = &world.user_out[which];
    unsigned stream = world.plan->echoes && which == 0 ? 0 : which + 1;
    uint8_t piece[PIECE_MAX];

    if (world.plan->reader_leaves[which] && !lane->abandoned && model_chance(3)) {
        lane_abandon(lane);
        world.outcome.reader_left = true;
        return true;
    }
    if (lane->bytes == 0 || world.pause[which] > 0)
        return false;
    size_t bytes = lane_take(lane, piece, 1 + model_choose((uint32_t)lane->bytes));
    for (size_t i = 0; i < bytes; i++)
        if (piece[i] != model_byte(stream, world.outcome.shown[which]++))
            model_fail("stream %u has a wrong byte at %llu", which + 1,
                       (unsigned long long)world.outcome.shown[which] - 1);
    if (world.plan->pauses && model_chance(5))
        world.pause[which] = 1 + model_choose(3000);
    return true;
}

static bool user_signals(void)
{
    static const int numbers[] = { SIGTERM, SIGINT, SIGUSR1, SIGWINCH, SIGHUP };

    if (world.signals_sent == world.plan->signals || !model_chance(2))
        return false;
    int number = numbers[model_choose(sizeof(numbers) / sizeof(numbers[0]))];
    world.signals_sent++;
    world.outcome.signalled |= number != SIGWINCH;
    host_signal(number);
    return true;
}

static void wire_cut(void)
{
    for (int i = 0; i < WIRE_COUNT; i++) {
        lane_end(&world.sent[i]);
        lane_abandon(&world.sent[i]);
        lane_end(&world.come[i]);
    }
}

static bool wire_breaks(void)
{
    if (!world.plan->connection_breaks || world.outcome.broke || !model_chance(1))
        return false;
    world.outcome.broke = true;
    wire_cut();
    return true;
}

enum { STEP_GUEST, STEP_TO_GUEST, STEP_TO_HOST, STEP_TYPE, STEP_READ_1, STEP_READ_2, STEP_REST };
#define STEP_COUNT 7u

static bool step_take(unsigned step)
{
    switch (step) {
    case STEP_GUEST:
        return guest_step();
    case STEP_TO_GUEST:
        return wire_move(WIRE_TO_GUEST);
    case STEP_TO_HOST:
        return wire_move(WIRE_TO_HOST);
    case STEP_TYPE:
        return user_types();
    case STEP_READ_1:
    case STEP_READ_2:
        return user_reads(step - STEP_READ_1);
    default:
        return model_chance(50) ? user_signals() : wire_breaks();
    }
}

bool world_step(void)
{
    unsigned first = model_choose(STEP_COUNT);
    bool paused = world.pause[0] > 0 || world.pause[1] > 0;

    if (world.steps++ > STEPS_MAX)
        model_fail("it does not come to an end");
    for (unsigned i = 0; i < 2; i++)
        world.pause[i] -= world.pause[i] > 0;
    for (unsigned i = 0; i < STEP_COUNT; i++)
        if (step_take((first + i) % STEP_COUNT))
            return true;
    /* Everybody waits for a reader who pauses: he reads on. */
    world.pause[0] = world.pause[1] = 0;
    return paused && world_step();
}

bool world_wait(uint64_t host_deadline_ns)
{
    uint64_t guest_ns = guest_deadline_ns();
    uint64_t next = host_deadline_ns < guest_ns ? host_deadline_ns : guest_ns;

    if (next == UINT64_MAX)
        return false;
    if (next > world.now_ns)
        world.now_ns = next;
    return true;
}

/* ---- What must hold at the end ---- */

static void check_streams(const struct plan *plan, const struct outcome *outcome)
{
    if (outcome->saw_end && plan->interactive && outcome->read != plan->stdin_bytes)
        model_fail("the command saw the end of its stdin after %llu of %u bytes",
                   (unsigned long long)outcome->read, plan->stdin_bytes);
    /* By three signals, or one to which the command did not react. */
    bool may_leave = outcome->signalled && (plan->signals >= 3 || plan->kill_after_ms > 0);

    if (outcome->rc < 0 || !outcome->ended || outcome->reader_left || outcome->broke || may_leave)
        return;
    for (int i = 0; i < 2; i++)
        if (outcome->shown[i] < outcome->written[i] ||
            (outcome->shown[i] > outcome->written[i] && !plan->leaves_writer))
            model_fail("%llu bytes of stream %d were written, %llu came out",
                       (unsigned long long)outcome->written[i], i + 1,
                       (unsigned long long)outcome->shown[i]);
}

static void check_exit(const struct plan *plan, const struct outcome *outcome)
{
    bool calm = !outcome->reader_left && !outcome->broke && !outcome->signalled;

    if (calm && outcome->rc < 0)
        model_fail("the session failed with %d though nothing went wrong", outcome->rc);
    if (outcome->rc < 0 || outcome->signalled)
        return;
    if (calm && !outcome->ended)
        model_fail("the session is over, the command is not");
    if (calm && plan->timeout_ms == 0 && outcome->exit_code != plan->exit_code)
        model_fail("exit code %d, not %d", outcome->exit_code, plan->exit_code);
    if (calm && plan->hangs && plan->first != FIRST_EXIT && outcome->exit_code != 124)
        model_fail("exit code %d of a command that timed out", outcome->exit_code);
}

void model_start(const struct plan *plan)
{
    memset(&world, 0, sizeof(world));
    world.plan = plan;
    world.now_ns = 1000000000;
    for (int i = 0; i < WIRE_COUNT; i++) {
        lane_init(&world.sent[i], plan->wire_capacity);
        lane_init(&world.come[i], plan->wire_capacity);
    }
    lane_init(&world.user_in, plan->pipe_capacity);
    lane_init(&world.user_out[0], plan->out_capacity);
    lane_init(&world.user_out[1], plan->out_capacity);
    guest_start();
}

void model_rest(void)
{
    while (world_step() || world_wait(UINT64_MAX))
        ;
    guest_check_idle();
}

void model_stop(void)
{
    wire_cut();
    model_rest();
}

void model_run(const struct plan *plan, struct outcome *ret_outcome)
{
    model_start(plan);
    host_run();
    model_stop();
    check_streams(plan, &world.outcome);
    check_exit(plan, &world.outcome);
    *ret_outcome = world.outcome;
}
