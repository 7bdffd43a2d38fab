/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what tests of volumes share; see volume_lab.h. */
#include "volume_lab.h"

#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "poold_client.h"
#include "poold_daemon.h"

#define WRITTEN_AT 65536 /* where fake_vmm writes */

/* ---- Making ---- */

/* The first bytes of an empty ext4 or erofs of that size. */
void volume_head(uint8_t head[VOLUME_HEAD_BYTES], bool ext4, uint32_t bytes)
{
    const uint32_t blocks = bytes / 4096, erofs = 0xe0f5e1e2u, log_block = 2;
    const uint16_t magic = 0xef53;

    memset(head, 0, VOLUME_HEAD_BYTES);
    if (ext4) {
        memcpy(head + 1024 + 4, &blocks, 4);
        memcpy(head + 1024 + 0x18, &log_block, 4);
        memcpy(head + 1024 + 0x38, &magic, 2);
        return;
    }
    memcpy(head + 1024, &erofs, 4);
    head[1024 + 12] = 12;
    memcpy(head + 1024 + 36, &blocks, 4);
}

unsigned volume_send(const char *name, const char *query, const uint8_t *head)
{
    struct client_reply reply;
    char request[256];
    int fd = client_connect();

    snprintf(request, sizeof request,
             "POST /v1/volumes/%s?%s HTTP/1.1\r\nHost: volt\r\nContent-Length: %u\r\n\r\n", name,
             query, VOLUME_HEAD_BYTES);
    client_write(fd, request);
    (void)!send(fd, head, VOLUME_HEAD_BYTES, MSG_NOSIGNAL);
    client_receive(fd, &reply);
    close(fd);
    return reply.status;
}

unsigned volume_make(const char *name, bool ext4)
{
    uint8_t head[VOLUME_HEAD_BYTES];

    volume_head(head, ext4, VOLUME_BYTES);
    return volume_send(name, "bytes=1048576", head);
}

void volume_pool_make(void)
{
    daemon_pool_create(
        "{\"name\":\"default\",\"memory\":\"64M\",\"min\":1,\"max\":4,\"volumes\":2}");
}

/* ---- Looking ---- */

/* Where a volume's contents are. */
static const char *contents_path(const char *name)
{
    static char path[300];
    char file[256], id[80];

    snprintf(id, sizeof id, "state/volumes/%s~%u.json", name, getuid());
    daemon_path(id, file);
    json_t *record = json_load_file(file, 0, NULL);
    ck_assert_ptr_nonnull(record);
    daemon_path("state/volumes/data", file);
    snprintf(path, sizeof path, "%s/%s", file, json_string_value(json_object_get(record, "data")));
    json_decref(record);
    return path;
}

void volume_contents_hide(const char *name, bool hide)
{
    const char *path = contents_path(name);
    char away[256];

    daemon_path("state/hidden", away);
    ck_assert_int_eq(hide ? rename(path, away) : rename(away, path), 0);
}

/* What fake_vmm writes, if it is in the volume's contents; else "". */
const char *volume_contents(const char *name)
{
    static char text[8];

    int fd = open(contents_path(name), O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    struct stat st;
    ck_assert_int_eq(fstat(fd, &st), 0);
    ck_assert_int_eq(st.st_size, VOLUME_BYTES);
    memset(text, 0, sizeof text);
    ck_assert_int_eq(pread(fd, text, 7, WRITTEN_AT), 7);
    close(fd);
    return text;
}

/* Files go a moment after who had them. */
void volume_await_files(const char *folder, unsigned count)
{
    char name[64];

    snprintf(name, sizeof name, "state/volumes/%s", folder);
    for (unsigned i = 0; daemon_entries(name) != count && i < CLIENT_LOOKS; i++)
        usleep(CLIENT_LOOK_US);
    ck_assert_uint_eq(daemon_entries(name), count);
}

void volume_attach(const char *lease, unsigned status, const char *body)
{
    char path[96];

    snprintf(path, sizeof path, "%s/volumes", lease);
    client_expect(status, "POST", path, body);
}

void volume_release(const char *lease, unsigned status, const char *query)
{
    char path[96];

    snprintf(path, sizeof path, "%s%s", lease, query);
    client_expect(status, "DELETE", path, NULL);
}

void volume_writer_make(char ret_lease[64])
{
    volume_pool_make();
    ck_assert_uint_eq(volume_make("cache", true), 201);
    daemon_acquire("{\"wait_ms\":60000}", ret_lease);
    volume_attach(ret_lease, 201, "{\"name\":\"cache\",\"path\":\"/c\",\"mode\":\"rw\"}");
}

void volume_poold_kill(void)
{
    kill(daemon_pid, SIGKILL);
    waitpid(daemon_pid, NULL, 0);
    daemon_pid = 0;
}

static void lease_path(const char *lease, char ret_file[256])
{
    char name[96];

    snprintf(name, sizeof name, "state/volumes/leases/%s.json", lease + strlen("/v1/leases/"));
    daemon_path(name, ret_file);
}

unsigned volume_lease_entries(const char *lease)
{
    char file[256];

    lease_path(lease, file);
    json_t *root = json_load_file(file, 0, NULL);
    const size_t count = json_array_size(json_object_get(root, "attachments"));

    json_decref(root);
    return (unsigned)count;
}

/* Changes what the lease's file says of its first volume; what it said before. */
bool volume_lease_set(const char *lease, const char *key, bool value)
{
    char file[256];

    lease_path(lease, file);
    json_t *root = json_load_file(file, 0, NULL);
    json_t *one = json_array_get(json_object_get(root, "attachments"), 0);
    const bool before = json_is_true(json_object_get(one, key));

    json_object_set_new(one, key, json_boolean(value));
    ck_assert_int_eq(json_dump_file(root, file, 0), 0);
    json_decref(root);
    return before;
}
