/* SPDX-License-Identifier: Apache-2.0 */
/* PUT and GET sessions: a tar stream into a directory, or out of a path. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent_session.h"

/* The request's payload as a path and a byte of flags. False: it is no such request, and answered. */
static bool request_take(struct session *session, char path[TAR_PATH_BYTES], uint8_t *ret_flags)
{
    const uint8_t *request = session->request;
    size_t length = strnlen((const char *)request, session->fill);
    struct fail fail;

    *ret_flags = session->fill == length + 2 ? request[length + 1] : 0;
    if (length > 0 && length < TAR_PATH_BYTES && session->fill <= length + 2) {
        memcpy(path, request, length);
        path[length] = '\0';
        return true;
    }
    fail_set(&fail, EINVAL, "the path is empty or too long", NULL, NULL);
    session_error(session, &fail);
    return false;
}

/* Ends the work, with a sentence if something was left out. */
static void files_done(struct session *session, uint64_t count, const char *what)
{
    char sentence[128];
    struct text text;

    text_init(&text, sentence, sizeof(sentence));
    if (count > 0) {
        text_add_u64(&text, count);
        text_add(&text, what);
    }
    session_result(session, AGENT_DONE, sentence, text.length);
}

void session_make_path(char *path)
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

/* The directory of a PUT, made if it is missing. */
static int directory_open(char *path)
{
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 && errno == ENOENT) {
        session_make_path(path);
        fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    }
    return fd;
}

static bool is_root(int dir_fd)
{
    struct stat st, root;

    return fstat(dir_fd, &st) == 0 && stat("/", &root) == 0 && st.st_dev == root.st_dev &&
           st.st_ino == root.st_ino;
}

void session_put_start(struct session *session)
{
    char path[TAR_PATH_BYTES];
    struct extract_rules rules;
    struct tar_sink sink;
    struct fail fail;
    uint8_t flags;
    int root_fd;

    if (!request_take(session, path, &flags))
        return;
    root_fd = directory_open(path);
    if (root_fd < 0) {
        fail_set_errno(&fail, errno, "can't open the directory", path);
        session_error(session, &fail);
        return;
    }
    session_work(session, SESSION_PUT);
    session->put.root_fd = root_fd;
    rules = (struct extract_rules){
        .owners = flags & AGENT_PUT_OWNERS,
        .capabilities = flags & AGENT_PUT_CAPABILITIES,
        .in_root = is_root(root_fd),
    };
    extract_init(&session->put.extract, root_fd, &rules);
    sink = extract_sink(&session->put.extract);
    tar_reader_init(&session->put.reader, &sink);
}

/* What is there of a stream that is refused. */
static int put_refused(const struct session *session, struct fail *fail)
{
    struct text text = { fail->sentence, strlen(fail->sentence), sizeof(fail->sentence) };
    uint64_t members = session->put.extract.members;

    if (members > 1) { /* one more was begun */
        text_add(&text, "; ");
        text_add_u64(&text, members - 1);
        text_add(&text, " files and folders had been copied by then");
    }
    return -fail->code;
}

int session_put_data(struct session *session, const uint8_t *data, size_t bytes, struct fail *fail)
{
    return tar_reader_feed(&session->put.reader, data, bytes, fail) < 0 ? put_refused(session, fail)
                                                                        : 0;
}

void session_put_eof(struct session *session)
{
    struct fail fail;

    if (tar_reader_finish(&session->put.reader, &fail) < 0)
        session_error(session, &fail);
    else
        files_done(session, session->put.extract.left_out,
                   " devices, FIFOs and extended attributes were left out");
}

void session_put_fini(struct session *session)
{
    tar_reader_fini(&session->put.reader);
    extract_fini(&session->put.extract);
    close(session->put.root_fd);
}

void session_get_start(struct session *session)
{
    char path[TAR_PATH_BYTES];
    struct fail fail;
    uint8_t flags;

    if (!request_take(session, path, &flags))
        return;
    if (tar_writer_init(&session->get, path, flags & AGENT_GET_FOLLOW, &fail) < 0)
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
        files_done(session, session->get.left_out,
                   " devices, FIFOs, sockets and extended attributes were left out");
    else
        session_error(session, &fail);
    return true;
}
