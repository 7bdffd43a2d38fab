/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what processes have written, and who reads it; see process.h. */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/util.h"
#include "e2b/process_internal.h"
#include "e2b/sandbox.h"

void process_readers_wake(const struct process *process)
{
    for (const struct process_reader *at = process->readers; at; at = at->next)
        (void)eventfd_write(at->event_fd, 1);
}

static void first_drop(struct process *process)
{
    struct process_chunk *chunk = process->chunks[process->first++ % PROCESS_CHUNKS];

    process->kept_bytes -= chunk->bytes;
    free(chunk);
}

/* Whether a reader still has to have the oldest chunk. */
static bool first_wanted(const struct process *process)
{
    for (const struct process_reader *at = process->readers; at; at = at->next)
        if (at->at == process->first)
            return true;
    return false;
}

void process_output_trim(struct process *process)
{
    while (process->end != PROCESS_RUNS && process->kept_bytes > PROCESS_ENDED_BYTES &&
           !first_wanted(process))
        first_drop(process);
}

/* Waits until there is room. */
static void chunk_add(struct process *process, struct process_chunk *chunk)
{
    pthread_mutex_lock(&process->lock);
    while (process->next_chunk - process->first == PROCESS_CHUNKS ||
           (process->kept_bytes + chunk->bytes > PROCESS_KEPT_BYTES &&
            process->first < process->next_chunk)) {
        if (!first_wanted(process) || process->abandoned)
            first_drop(process);
        else
            pthread_cond_wait(&process->room, &process->lock);
    }
    process->chunks[process->next_chunk++ % PROCESS_CHUNKS] = chunk;
    process->kept_bytes += chunk->bytes;
    process_readers_wake(process);
    pthread_mutex_unlock(&process->lock);
}

void process_output_take(struct process *process, enum process_stream stream, const uint8_t *data,
                         size_t bytes)
{
    while (bytes > 0) {
        size_t count = MIN_OF(bytes, (size_t)PROCESS_CHUNK_BYTES);
        struct process_chunk *chunk = malloc(sizeof *chunk + count);

        if (!chunk)
            abort(); /* what is kept is bounded */
        *chunk =
            (struct process_chunk){ .stream = process->pty ? PROCESS_PTY : stream, .bytes = count };
        memcpy(chunk->data, data, count);
        chunk_add(process, chunk);
        data += count;
        bytes -= count;
    }
}

int process_reader_open(struct process_reader *reader, struct process *process)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    if (fd < 0)
        return -errno;
    atomic_fetch_add(&process->references, 1);
    pthread_mutex_lock(&process->lock);
    *reader = (struct process_reader){
        .next = process->readers, .process = process, .at = process->first, .event_fd = fd
    };
    process->readers = reader;
    pthread_mutex_unlock(&process->lock);
    return 0;
}

void process_reader_close(struct process_reader *reader)
{
    struct process *process = reader->process;

    pthread_mutex_lock(&process->lock);
    for (struct process_reader **at = &process->readers; *at; at = &(*at)->next) {
        if (*at == reader) {
            *at = reader->next;
            break;
        }
    }
    process->told |= process->end != PROCESS_RUNS && reader->at == process->next_chunk;
    process_output_trim(process);
    pthread_cond_broadcast(&process->room);
    pthread_mutex_unlock(&process->lock);
    pthread_mutex_lock(&process->sandbox->lock);
    processes_forget(process->sandbox);
    pthread_mutex_unlock(&process->sandbox->lock);
    close_fd(&reader->event_fd);
    process_put(process);
}

struct process_chunk *process_reader_next(struct process_reader *reader, enum process_end *ret_end)
{
    struct process *process = reader->process;
    struct process_chunk *copy = NULL;
    eventfd_t count;

    (void)eventfd_read(reader->event_fd, &count);
    pthread_mutex_lock(&process->lock);
    *ret_end = process->end;
    reader->at = MAX_OF(reader->at, process->first); /* behind, as the sandbox ended */
    if (reader->at < process->next_chunk) {
        const struct process_chunk *chunk = process->chunks[reader->at % PROCESS_CHUNKS];

        copy = malloc(sizeof *chunk + chunk->bytes);
        if (!copy)
            abort(); /* as above */
        memcpy(copy, chunk, sizeof *chunk + chunk->bytes);
        reader->at++;
        pthread_cond_signal(&process->room);
    }
    pthread_mutex_unlock(&process->lock);
    return copy;
}
