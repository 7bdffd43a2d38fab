/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: of an OCI layout the right image is found, unpacked whole, and nothing of it believed without
 * its digest; what can't be used is refused with a sentence that says why. Method: layouts written
 * here, one with each fault.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

#include "base/util.h"
#include "hostile_write.h"
#include "image_unpack.h"
#include "oci/layout.h"
#include "tap_main.h"

#define MANIFEST_TYPE "application/vnd.oci.image.manifest.v1+json"
#define INDEX_TYPE "application/vnd.oci.image.index.v1+json"
#define LAYER_TYPE "application/vnd.oci.image.layer.v1.tar"

#define TEXTS_MAX 256

static char base[64];
static char *texts[TEXTS_MAX]; /* what was formatted, until the test is over */
static size_t text_count;

static void run(const char *command)
{
    ck_assert_msg(system(command) == 0, "failed: %s", command);
}

static void base_make(void)
{
    strcpy(base, "/tmp/volt-unit-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(base));
    ck_assert_int_eq(chdir(base), 0);
    signal(SIGPIPE, SIG_IGN);
    run("mkdir -p oci/blobs/sha256 out && echo '{\"imageLayoutVersion\":\"1.0.0\"}' "
        ">oci/oci-layout");
}

/* Makes a text the test's own. Returns it. */
static char *kept(char *text)
{
    ck_assert_uint_lt(text_count, TEXTS_MAX);
    return texts[text_count++] = text;
}

static void base_remove(void)
{
    char command[64];

    while (text_count > 0)
        free(texts[--text_count]);

    ck_assert_int_eq(chdir("/"), 0);
    snprintf(command, sizeof command, "rm -rf %s", base);
    run(command);
}

static void file_write(const char *path, const void *data, size_t bytes)
{
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, data, bytes), (ssize_t)bytes);
}

/* A blob's descriptor, as JSON. */
static const char *blob_put(const char *type, const void *data, size_t bytes, const char *more)
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    char hex[65], path[128], *text;

    SHA256(data, bytes, digest);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    snprintf(path, sizeof path, "oci/blobs/sha256/%s", hex);
    file_write(path, data, bytes);
    ck_assert_int_gt(asprintf(&text,
                              "{\"mediaType\":\"%s\",\"digest\":\"sha256:%s\",\"size\":%zu%s}",
                              type, hex, bytes, more),
                     0);
    return kept(text);
}

/* The same for JSON that is written here. */
static const char *json_put(const char *type, const char *more, const char *format, ...)
{
    va_list args;
    char *text;

    va_start(args, format);
    ck_assert_int_ge(vasprintf(&text, format, args), 0);
    va_end(args);
    return blob_put(type, kept(text), strlen(text), more);
}

/* A layer with one file of that name. */
static const char *layer_put(const char *type, const char *name)
{
    static const struct hostile_place place = { "@", "%" };
    static uint8_t data[HOSTILE_BYTES_MAX];
    struct hostile_writer writer = { &place, data, 0 };
    const struct hostile_member member = { .name = name, .data = "content" };

    hostile_put(&writer, &member);
    hostile_put_end(&writer);
    return blob_put(type, data, writer.bytes, "");
}

static const char *config_put(const char *machine)
{
    return json_put("application/vnd.oci.image.config.v1+json", "",
                    "{\"os\":\"linux\",\"architecture\":\"%s\"}", machine);
}

/* An image of one layer whose file has that name; `more` goes into its descriptor. */
static const char *image_put(const char *name, const char *more)
{
    return json_put(MANIFEST_TYPE, more, "{\"schemaVersion\":2,\"config\":%s,\"layers\":[%s]}",
                    config_put("amd64"), layer_put(LAYER_TYPE, name));
}

static void index_put(const char *format, ...)
{
    va_list args;
    char *text, *whole;

    va_start(args, format);
    ck_assert_int_ge(vasprintf(&text, format, args), 0);
    va_end(args);
    ck_assert_int_gt(asprintf(&whole, "{\"schemaVersion\":2,\"manifests\":[%s]}", text), 0);
    file_write("oci/index.json", kept(whole), strlen(whole));
    free(text);
}

#define TAG(name) ",\"annotations\":{\"org.opencontainers.image.ref.name\":\"" name "\"}"
#define PLATFORM(os, machine) ",\"platform\":{\"os\":\"" os "\",\"architecture\":\"" machine "\"}"

static int unpack(const char *layout, struct err *err)
{
    _cleanup_close_ int fd = open("out", O_PATH | O_DIRECTORY | O_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    err->msg[0] = '\0';
    json_t *config = NULL;
    int rc = image_unpack_oci(layout, fd, &config, err);
    json_decref(config);
    return rc;
}

static void expect_refused(const char *layout, const char *says)
{
    struct err err;

    ck_assert_int_lt(unpack(layout, &err), 0);
    ck_assert_msg(strstr(err.msg, says) != NULL, "it says '%s', not '%s'", err.msg, says);
}

static void expect_file(const char *layout, const char *name)
{
    struct err err;
    char path[64];

    ck_assert_msg(unpack(layout, &err) == 0, "%s: %s", layout, err.msg);
    snprintf(path, sizeof path, "out/%s", name);
    ck_assert_msg(access(path, F_OK) == 0, "%s has no %s", layout, name);
    ck_assert_int_eq(unlink(path), 0);
}

/* ---- Which image ---- */

START_TEST(a_tag_names_an_image)
{
    index_put("%s,%s", image_put("one", TAG("one")), image_put("two", TAG("latest")));
    expect_file("oci:one", "one");
    expect_file("oci:latest", "two");
    expect_file("oci", "two");
    expect_file("./oci/../oci:one", "one");
    expect_refused("oci:three", "its tags: one, latest");
    expect_refused("nowhere:one", "No such file");
    run("mkdir not");
    expect_refused("not", "no file oci-layout");
    run("cp -r oci 'a:b'");
    expect_file("a:b", "two");
    expect_file("a:b:one", "one");
}
END_TEST

START_TEST(without_a_tag_the_only_image_is_meant)
{
    index_put("%s", image_put("only", ""));
    expect_file("oci", "only");
    index_put("%s", image_put("only", TAG("v1")));
    expect_file("oci", "only");
    index_put("%s,%s", image_put("one", TAG("v1")), image_put("two", TAG("v2")));
    expect_refused("oci", "has 2 for linux/amd64; its tags: v1, v2");
    index_put("%s", "");
    expect_refused("oci", "no image");
}
END_TEST

START_TEST(of_many_machines_ours_is_taken)
{
    const char *inner =
        json_put(INDEX_TYPE, TAG("latest"), "{\"schemaVersion\":2,\"manifests\":[%s,%s,%s]}",
                 image_put("arm", PLATFORM("linux", "arm64")),
                 image_put("intel", PLATFORM("linux", "amd64")),
                 image_put("attestation", PLATFORM("unknown", "unknown")));

    index_put("%s", inner);
    expect_file("oci", "intel");
    expect_file("oci:latest", "intel");
    index_put("%s", image_put("arm", PLATFORM("linux", "arm64")));
    expect_refused("oci", "say which image: the layout has 0 for linux/amd64");
    index_put("%s", json_put(MANIFEST_TYPE, "", "{\"config\":%s,\"layers\":[%s]}",
                             config_put("arm64"), layer_put(LAYER_TYPE, "a")));
    expect_refused("oci", "the image is for arm64");
}
END_TEST

/* ---- What is wrong with it ---- */

/* A manifest with these layers. */
static void layers_index(const char *layers)
{
    index_put("%s", json_put(MANIFEST_TYPE, "", "{\"config\":%s,\"layers\":[%s]}",
                             config_put("amd64"), layers));
}

START_TEST(what_cannot_be_used_is_refused)
{
    char text[512];

    file_write("oci/index.json", "{", 1);
    expect_refused("oci", "is no JSON");
    file_write("oci/index.json", "[]", 2);
    expect_refused("oci", "is no JSON object");
    file_write("oci/index.json", "{}", 2);
    expect_refused("oci", "no image");
    index_put("{\"digest\":\"sha256:12\",\"size\":1}");
    expect_refused("oci", "no sha256");
    index_put("{\"digest\":\"sha512:%0128d\",\"size\":1}", 0);
    expect_refused("oci", "no sha256");
    index_put("{\"digest\":\"sha256:../../../../../../../etc/passwd%041d\",\"size\":1}", 0);
    expect_refused("oci", "no sha256");
    index_put("{\"digest\":\"sha256:%064d\",\"size\":1}", 0);
    expect_refused("oci", "No such file");
    index_put("{\"digest\":\"sha256:%064d\",\"size\":-1}", 0);
    expect_refused("oci", "no digest or no size");
    index_put("{\"digest\":\"sha256:%064d\",\"size\":99999999999}", 0);
    expect_refused("oci", "too many for JSON");
    index_put("%s", json_put(MANIFEST_TYPE, "", "{\"layers\":[]}"));
    expect_refused("oci", "configuration has no digest");
    layers_index("");
    expect_refused("oci", "no layers");
    layers_index("{}");
    expect_refused("oci", "a layer has no digest");
    layers_index(layer_put("application/vnd.oci.image.layer.v1.tar+encrypted", "a"));
    expect_refused("oci", "of a kind that is not read here");
    layers_index(layer_put("text/plain\\u001b[2J", "a"));
    expect_refused("oci", "'text/plain\\x1b[2J'");
    layers_index(blob_put(LAYER_TYPE, "no tar at all", 13, ""));
    expect_refused("oci", "layer 1 of 1: the archive is damaged");
    snprintf(text, sizeof text, "%s", layer_put(LAYER_TYPE, "../out"));
    layers_index(text);
    expect_refused("oci", "'..' leads out");
}
END_TEST

static void layer_break(const char *command)
{
    char path[256];

    snprintf(path, sizeof path,
             "for f in oci/blobs/sha256/*; do if ! head -c 1 $f | grep -q '{'; "
             "then %s; fi; done",
             command);
    run(path);
}

START_TEST(a_blob_is_believed_by_its_digest)
{
    index_put("%s", image_put("a", ""));
    expect_file("oci", "a");
    layer_break("printf x | dd of=$f bs=1 seek=600 conv=notrunc status=none");
    expect_refused("oci", "has another digest");
    layer_break("truncate -s -512 $f");
    expect_refused("oci", "bytes, not");
    layer_break("mv $f moved && ln -s $PWD/moved $f");
    expect_refused("oci", "the layout's blobs/sha256/");
    layer_break("rm $f; mkfifo $f");
    expect_refused("oci", "no regular file");
}
END_TEST

START_TEST(a_changed_manifest_is_refused)
{
    index_put("%s", image_put("a", ""));
    run("f=$(grep -l layers oci/blobs/sha256/*) && sed -i 's/\"layers\"/\"Layers\"/' $f");
    expect_refused("oci", "has another digest");
}
END_TEST

START_TEST(indexes_without_an_end_are_refused)
{
    const char *inner = image_put("a", "");

    for (unsigned i = 0; i < 8; i++)
        inner = json_put(INDEX_TYPE, "", "{\"manifests\":[%s]}", inner);
    index_put("%s", inner);
    expect_refused("oci", "nested too deeply");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cli_oci");
    TCase *tests = tap_case(suite, "OCI layouts");

    tcase_add_checked_fixture(tests, base_make, base_remove);
    tcase_add_test(tests, a_tag_names_an_image);
    tcase_add_test(tests, without_a_tag_the_only_image_is_meant);
    tcase_add_test(tests, of_many_machines_ours_is_taken);
    tcase_add_test(tests, what_cannot_be_used_is_refused);
    tcase_add_test(tests, a_blob_is_believed_by_its_digest);
    tcase_add_test(tests, a_changed_manifest_is_refused);
    tcase_add_test(tests, indexes_without_an_end_are_refused);
    return tap_main(suite);
}
