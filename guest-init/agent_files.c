/* SPDX-License-Identifier: Apache-2.0 */
/* PUT and GET sessions: a tar stream into a directory, or out of a path. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent_session.h"

/* The request's payload as a path. */
static void request_path(const struct session *session, char path[TAR_PATH_BYTES])
{
    memcpy(path, session->request, session->fill);
    path[session->fill] = '\0';
}

/* mkdir -p */
static void make_path(char *path)
{
    for (char *at = path + 1; *at; at++) {
        if (*at != '/')
            continue;
        *at = '\0';
        (void)mkdir(path, 0755);
        *at = '/';
    }
    (void)mkdir(path, 0755); /* the open that follows tells what went wrong */
}

void session_put_start(struct session *session)
{
    char path[TAR_PATH_BYTES];
    struct tar_sink sink;
    struct fail fail;
    int root_fd;

    request_path(session, path);
    root_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root_fd < 0 && errno == ENOENT) {
        make_path(path);
        root_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    }
    if (root_fd < 0) {
        fail_set_errno(&fail, errno, "can't open the directory", path);
        session_error(session, &fail);
        return;
    }
    session_work(session, SESSION_PUT);
    session->put.root_fd = root_fd;
    extract_init(&session->put.extract, root_fd);
    sink = extract_sink(&session->put.extract);
    tar_reader_init(&session->put.reader, &sink);
}

int session_put_data(struct session *session, const uint8_t *data, size_t bytes, struct fail *fail)
{
    return tar_reader_feed(&session->put.reader, data, bytes, fail);
}

void session_put_eof(struct session *session)
{
    struct fail fail;

    if (tar_reader_finish(&session->put.reader, &fail) < 0)
        session_error(session, &fail);
    else
        session_result(session, AGENT_DONE, NULL, 0);
}

void session_put_fini(struct session *session)
{
    extract_fini(&session->put.extract);
    close(session->put.root_fd);
}

void session_get_start(struct session *session)
{
    char path[TAR_PATH_BYTES];
    struct fail fail;

    request_path(session, path);
    if (tar_writer_init(&session->get, path, &fail) < 0)
        session_error(session, &fail);
    else
        session_work(session, SESSION_GET);
}

bool session_get_produce(struct session *session)
{
    uint8_t *payload = session->out + sizeof(struct agent_frame);
    struct fail fail;
    ssize_t count = tar_writer_read(&session->get, payload, OUT_PAYLOAD_MAX, &fail);

    if (count > 0)
        session_frame(session, AGENT_DATA, NULL, (size_t)count);
    else if (count == 0)
        session_result(session, AGENT_DONE, NULL, 0);
    else
        session_error(session, &fail);
    return true;
}
