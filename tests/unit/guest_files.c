/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the agent that tests of `voltctl cp` talk to; see guest_files.h. */
#include "guest_files.h"

#include <check.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli.h"
#include "guest_abi.h"
#include "tar_extract.h"
#include "tar_write.h"

#define STOP '!' /* what guest_files_stop says; no request begins so */

static void error_answer(int fd, const struct fail *fail)
{
    uint8_t data[sizeof(struct agent_error) + sizeof fail->sentence];
    struct agent_error error = { (uint32_t)fail->code };

    memcpy(data, &error, sizeof error);
    memcpy(data + sizeof error, fail->sentence, strlen(fail->sentence));
    fake_frame(fd, AGENT_ERROR, data, sizeof error + strlen(fail->sentence));
    shutdown(fd, SHUT_WR); /* and what still comes is read, as the agent does */
    while (read(fd, data, sizeof data) > 0)
        ;
}

static void get_serve(int fd, const char *path, uint8_t flags)
{
    static struct tar_writer writer;
    uint8_t data[AGENT_PAYLOAD_MAX];
    struct fail fail;
    ssize_t bytes = tar_writer_init(&writer, path, flags & AGENT_GET_FOLLOW, &fail);

    while (bytes >= 0 && (bytes = tar_writer_read(&writer, data, sizeof data, &fail)) > 0)
        fake_frame(fd, AGENT_DATA, data, (size_t)bytes);
    if (bytes == 0)
        fake_frame(fd, AGENT_DONE, NULL, 0);
    else
        error_answer(fd, &fail);
    tar_writer_fini(&writer);
}

/* 0: all is unpacked; 1: the client went away before; or -errno. */
static int put_receive(int fd, struct tar_reader *reader, struct fail *fail)
{
    static uint8_t data[AGENT_PAYLOAD_MAX];
    size_t bytes;
    char byte;
    int status = 0;

    while (status == 0 && recv(fd, &byte, 1, MSG_PEEK) == 1) {
        unsigned type = fake_read_frame(fd, data, &bytes);

        if (type == AGENT_EOF)
            return tar_reader_finish(reader, fail);
        fake_check(type == AGENT_DATA);
        status = tar_reader_feed(reader, data, bytes, fail);
    }
    return status < 0 ? status : 1;
}

static void put_serve(int fd, const char *path, const struct extract_rules *rules)
{
    static struct tar_reader reader;
    static struct extract extract;
    struct fail fail;

    (void)mkdir(path, 0755);
    int root_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root_fd < 0) {
        fail_set_errno(&fail, 2, "can't open the directory", path);
        error_answer(fd, &fail);
        return;
    }
    extract_init(&extract, root_fd, rules);
    struct tar_sink sink = extract_sink(&extract);
    tar_reader_init(&reader, &sink);
    int status = put_receive(fd, &reader, &fail);
    extract_fini(&extract);
    tar_reader_fini(&reader);
    close(root_fd);
    if (status < 0)
        error_answer(fd, &fail);
    else if (status == 0)
        fake_frame(fd, AGENT_DONE, NULL, 0);
}

static void files_serve(int fd, unsigned n, const void *root)
{
    char request[AGENT_PAYLOAD_MAX + 2], path[PATH_MAX * 2], byte;
    size_t bytes;

    (void)n;
    if (recv(fd, &byte, 1, MSG_PEEK) != 1)
        return; /* a client that has thought better of it */
    if (byte == STOP)
        _exit(0);
    fake_accept_agent(fd);
    unsigned type = fake_read_frame(fd, (uint8_t *)request, &bytes);
    request[bytes] = '\0';
    uint8_t flags = bytes == strlen(request) + 2 ? (uint8_t)request[bytes - 1] : 0;
    snprintf(path, sizeof path, "%s%s", (const char *)root, request);
    fake_check(type == AGENT_GET || type == AGENT_PUT);
    if (type == AGENT_GET) {
        get_serve(fd, path, flags);
        return;
    }
    const struct extract_rules rules = { .owners = flags & AGENT_PUT_OWNERS,
                                         .capabilities = flags & AGENT_PUT_CAPABILITIES,
                                         .in_root = strcmp(request, "/") == 0 };
    put_serve(fd, path, &rules);
}

void guest_files_start(struct fake *fake, const char *root)
{
    fake_start(fake, files_serve, root, UINT_MAX);
    cli_socket_option = fake->path;
}

void guest_files_stop(struct fake *fake)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    strcpy(address.sun_path, fake->path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(write(fd, &(char){ STOP }, 1), 1);
    close(fd);
    fake_stop(fake);
}
