/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: `voltctl image build` takes what others make: OCI images of umoci with every kind of member
 * that a layer can have, in each form that skopeo writes, with their configuration; and leaves nothing
 * behind. Method: images made and converted by those tools, built here, and the file system taken
 * apart again by fsck.erofs and debugfs.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"
#include "image_build.h"
#include "tap_main.h"

#define NOBODY 65534u

static char base[64];

static void run(const char *command)
{
    ck_assert_msg(system(command) == 0, "failed: %s", command);
}

/* "layout" has the image x of the tree "r", with a configuration. */
static void base_make(void)
{
    char tmp[96];

    strcpy(base, "/tmp/volt-unit-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(base));
    ck_assert_int_eq(chdir(base), 0);
    umask(022);
    signal(SIGPIPE, SIG_IGN);
    snprintf(tmp, sizeof tmp, "%s/tmp", base);
    ck_assert_int_eq(setenv("TMPDIR", tmp, 1), 0);
    run("mkdir tmp && chmod 755 . && chmod 1777 tmp && mkdir -p r/bin r/etc r/gone r/run/app && "
        "echo sh >r/bin/sh && echo x >r/etc/x && echo g >r/gone/g && echo a >r/run/app/a");
}

static void layout_make(void)
{
    run("umoci init --layout layout && umoci new --image layout:x && "
        "umoci insert --image layout:x r / && "
        "umoci config --image layout:x --config.user 12:34 --config.env A=b --config.env C=d=e "
        "--config.workingdir /srv/work --config.volume /srv/data/in "
        "--config.entrypoint /bin/sh --config.cmd -c "
        "--config.cmd 'echo hi'");
}

static void base_remove(void)
{
    char command[96];

    ck_assert_int_eq(chdir("/"), 0);
    snprintf(command, sizeof command, "chmod -R u+rwx %s && rm -rf %s", base, base);
    run(command);
}

/* Builds into the file "image". */
static int build(const struct image_source *source, json_t **ret_config, struct err *err)
{
    _cleanup_image_built_ struct image_built built = IMAGE_BUILT_INIT;
    char command[64];
    int rc = image_build(source, &built, err);

    run("test -z \"$(ls -A tmp)\"");
    if (rc < 0)
        return rc;
    snprintf(command, sizeof command, "cat /proc/%d/fd/%d >image", (int)getpid(), built.fd);
    run(command);
    if (ret_config)
        *ret_config = take_pointer(&built.config);
    return 0;
}

static void build_erofs_of_oci(const char *oci, json_t **ret_config)
{
    struct err err;
    int rc = build(&(struct image_source){ .oci = oci, .filesystem = "erofs" }, ret_config, &err);

    ck_assert_msg(rc == 0, "%s: %s", oci, err.msg);
    run("rm -rf out && fsck.erofs --extract=out --overwrite image >/dev/null");
}

START_TEST(every_form_of_an_image_is_taken)
{
    static const char *const forms[] = { "layout:x",
                                         "layout",
                                         "save.tar",
                                         "docker-archive:save.tar",
                                         "docker-archive:save.tar:me:1",
                                         "oci.tar",
                                         "oci-archive:oci.tar",
                                         "dir:folder",
                                         "zstd:x" };
    static const char wanted[] =
        "{\"cmd\":[\"-c\",\"echo hi\"],\"entrypoint\":[\"/bin/sh\"],\"env\":[\"A=b\",\"C=d=e\"],"
        "\"user\":\"12:34\",\"workdir\":\"/srv/work\"}";
    struct err err;

    layout_make();
    run("s='skopeo --insecure-policy copy -q'; $s oci:layout:x docker-archive:save.tar:me:1 && "
        "$s oci:layout:x oci-archive:oci.tar:x && $s oci:layout:x dir:folder && "
        "$s --dest-compress --dest-compress-format zstd dir:folder oci:zstd:x && "
        "grep -q zstd zstd/blobs/sha256/*");
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        json_t *config = NULL;

        build_erofs_of_oci(forms[i], &config);
        run("test -d out/srv/work && test -d out/srv/data/in && rm -r out/srv && diff -r r out");
        char *text = json_dumps(config, JSON_COMPACT | JSON_SORT_KEYS);
        ck_assert_msg(strcmp(text, wanted) == 0, "%s: %s", forms[i], text);
        free(text);
        json_decref(config);
    }
    static const char *const tars[] = { "save.tar", "oci.tar" };
    for (size_t i = 0; i < ARRAY_LEN(tars); i++) {
        ck_assert_int_eq(
            build(&(struct image_source){ .tar = tars[i], .filesystem = "erofs" }, NULL, &err),
            -EINVAL);
        ck_assert_msg(strstr(err.msg, "build it with --from-oci") != NULL, "%s", err.msg);
    }
    ck_assert_int_eq(
        build(&(struct image_source){ .dir = "layout", .filesystem = "erofs" }, NULL, &err),
        -EINVAL);
    ck_assert_msg(strstr(err.msg, "build it with --from-oci") != NULL, "%s", err.msg);
    run("tar -cf root.tar -C r .");
    ck_assert_int_eq(
        build(&(struct image_source){ .oci = "root.tar", .filesystem = "erofs" }, NULL, &err),
        -EINVAL);
    ck_assert_msg(strstr(err.msg, "no archive of an image") != NULL, "%s", err.msg);
}
END_TEST

/* All that can be in a layer: what is changed, taken away, linked; owners, bits, attributes. */
START_TEST(a_layer_has_all_that_it_can_have)
{
    if (geteuid() != 0) {
        printf("# skipped: only root makes such a tree\n");
        return;
    }
    layout_make();
    run("umoci unpack --image layout:x bundle && cd bundle/rootfs && rm -r gone && rm etc/x && "
        "ln -s /etc etc/x && mkdir gone && echo new >gone/new && ln bin/sh bin/hard && "
        "printf s >bin/s && chown 12:34 bin/s && chmod 6755 bin/s && mknod dev-null c 1 3 && "
        "mkfifo fifo && setfattr -n user.one -v 1 bin/s && cp /usr/bin/true bin/cap && "
        "setcap cap_net_raw+ep bin/cap && rm -r run && mkdir -p run srv/deep && "
        "truncate -s 3M srv/holes && chmod 1777 srv/deep && chown -h 56:78 etc/x && "
        "touch -d @1234567890 srv/deep && cd ../.. && umoci repack --image layout:y bundle");
    build_erofs_of_oci("layout:y", NULL);
    /* fsck.erofs takes out neither links nor set-id bits nor attributes */
    run("list() { (cd $1 && find . -not -path './srv/*' -not -path ./srv -not -path . "
        "-not -path ./bin/s -printf '%p %y %m %U:%G %l %s\\n' | sed 's/\\( d .*\\) [0-9]*$/\\1/' | "
        "sort); }; list bundle/rootfs >l1; list out >l2; diff l1 l2");
    run("dump.erofs --path=/bin/hard image | grep -q 'Links: 2 ' && "
        "dump.erofs --path=/bin/s image | grep -q 'Uid: 12 *Gid: 34' && "
        "! dump.erofs --path=/bin/cap image | grep -q 'Xattr size: 0'");
}
END_TEST

START_TEST(many_small_files_fit_into_an_ext4)
{
    struct err err;

    run("cd r && for i in $(seq 200); do mkdir d$i && (cd d$i && seq 110 | xargs touch && "
        "echo x >1); done");
    int rc = build(&(struct image_source){ .dir = "r", .filesystem = "ext4" }, NULL, &err);
    ck_assert_msg(rc == 0, "%s", err.msg);
    run("debugfs -R 'stat /d200/110' image 2>/dev/null | grep -q regular && "
        "test $(dumpe2fs -h image 2>/dev/null | sed -n 's/^Free inodes: *//p') -gt 4000");
}
END_TEST

START_TEST(attributes_are_in_both_file_systems)
{
    struct err err;

    if (geteuid() != 0) {
        printf("# skipped: only root sets capabilities\n");
        return;
    }
    run("cp /usr/bin/true r/bin/cap && setcap cap_net_raw+ep r/bin/cap && "
        "setfattr -n user.one -v value-of-it r/bin/cap && "
        "tar -cf root.tar --xattrs --xattrs-include='*' -C r .");
    const struct image_source ext4 = { .tar = "root.tar", .filesystem = "ext4" };
    const struct image_source erofs = { .tar = "root.tar", .filesystem = "erofs" };
    ck_assert_msg(build(&ext4, NULL, &err) == 0, "%s", err.msg);
    run("debugfs -R 'ea_list /bin/cap' image 2>/dev/null | grep -q security.capability && "
        "debugfs -R 'ea_list /bin/cap' image 2>/dev/null | grep -q value-of-it");
    ck_assert_msg(build(&erofs, NULL, &err) == 0, "%s", err.msg);
    run("grep -q value-of-it image && grep -q capability image");
}
END_TEST

/* Of a tree that its owner can't write in. */
START_TEST(nothing_is_left_without_root)
{
    static const struct image_source sources[] = {
        { .dir = "r", .filesystem = "erofs" },
        { .tar = "root.tar", .filesystem = "erofs" },
        { .dir = "r", .filesystem = "nonsense" },
        { .tar = "root.tar", .filesystem = "nonsense" },
    };
    int status;

    run("mkdir -p r/ro/deep && echo y >r/ro/deep/y && chmod 555 r/ro/deep r/ro && "
        "tar -cf root.tar -C r . && chmod 1777 .");
    for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
        pid_t pid = fork();

        if (pid == 0) {
            struct err err;

            if (geteuid() == 0 &&
                (setgroups(0, NULL) < 0 || setgid(NOBODY) < 0 || setuid(NOBODY) < 0))
                _exit(3);
            _cleanup_image_built_ struct image_built built = IMAGE_BUILT_INIT;
            int rc = image_build(&sources[i], &built, &err);
            if (rc < 0 && i < 2)
                fprintf(stderr, "%s\n", err.msg);
            _exit((rc == 0) == (i < 2) ? 0 : 1);
        }
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_msg(status == 0, "source %zu", i);
        run("test -z \"$(ls -A tmp)\"");
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cli-image");
    TCase *tests = tap_case(suite, "images built");

    tcase_add_checked_fixture(tests, base_make, base_remove);
    tcase_add_test(tests, every_form_of_an_image_is_taken);
    tcase_add_test(tests, a_layer_has_all_that_it_can_have);
    tcase_add_test(tests, many_small_files_fit_into_an_ext4);
    tcase_add_test(tests, attributes_are_in_both_file_systems);
    tcase_add_test(tests, nothing_is_left_without_root);
    return tap_main(suite);
}
