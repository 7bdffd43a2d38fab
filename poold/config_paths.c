/* SPDX-License-Identifier: Apache-2.0 */
/* Owns where things are when nobody says so: poold's directories, its configuration, the programs
 * beside it and the guest kernels.
 *
 * How it works
 *   poold looks from where its own program is. In a build tree the other folders of the tree are
 *   its siblings; installed, it is PREFIX/bin/poold, and what belongs to it is in PREFIX/lib/volt.
 *   So a prefix may be moved, and neither $HOME nor a fixed path is asked for. Only where nothing is
 *   installed, the cache that guest-init/kernel/build-kernel fills is looked into. */
#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "base/util.h"
#include "config.h"

static const char *variable(const char *name)
{
    const char *value = getenv(name);

    return value && *value ? value : NULL;
}

void config_default_dirs(struct config *config)
{
    const char *runtime = variable("XDG_RUNTIME_DIR"), *state = variable("XDG_STATE_HOME"),
               *home = variable("HOME");

    if (geteuid() == 0) {
        snprintf(config->run_dir, PATH_MAX, "/run/volt");
        snprintf(config->state_dir, PATH_MAX, "/var/lib/volt");
        return;
    }
    if (runtime)
        snprintf(config->run_dir, PATH_MAX, "%s/volt", runtime);
    else
        snprintf(config->run_dir, PATH_MAX, "/tmp/volt-%u", (unsigned)geteuid());
    if (state)
        snprintf(config->state_dir, PATH_MAX, "%s/volt", state);
    else
        snprintf(config->state_dir, PATH_MAX, "%s/.local/state/volt", home ? home : "");
}

void config_default_file(struct config *config)
{
    const char *config_home = variable("XDG_CONFIG_HOME"), *home = variable("HOME");

    if (geteuid() == 0)
        snprintf(config->file, PATH_MAX, "/etc/volt/poold.conf");
    else if (config_home)
        snprintf(config->file, PATH_MAX, "%s/volt/poold.conf", config_home);
    else
        snprintf(config->file, PATH_MAX, "%s/.config/volt/poold.conf", home ? home : "");
}

/* The first of the places, relative to poold's own folder, where something readable is; else "". */
static void find_beside(const char *const places[2], char ret_path[PATH_MAX])
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

    if (n <= 0)
        return;
    self[n] = '\0';
    *strrchr(self, '/') = '\0';
    for (unsigned i = 0; i < 2 && places[i]; i++) {
        char path[2 * PATH_MAX];

        snprintf(path, sizeof path, "%s/%s", self, places[i]);
        if (strlen(path) < PATH_MAX && access(path, R_OK) == 0 && realpath(path, ret_path))
            return;
    }
    ret_path[0] = '\0';
}

/* In the build tree, and installed. */
static const char *const volt_vmm_places[] = { "../vmm-core/volt-vmm/volt-vmm", "volt-vmm" };
static const char *const volt_gate_places[] = { "net/volt-gate", "volt-gate" };
static const char *const volt_e2b_places[] = { "../cli/volt-e2b", "volt-e2b" };
static const char *const initrd_places[] = { "../guest-init/initramfs.cpio",
                                             "../lib/volt/initramfs.cpio" };
static const char *const stock_kernel_places[] = { "../guest-init/stock/vmlinuz",
                                                   "../lib/volt/stock/vmlinuz" };
static const char *const stock_initrd_places[] = { "../guest-init/stock/initramfs.cpio",
                                                   "../lib/volt/stock/initramfs.cpio" };
static const char *const own_kernel_places[] = { "../lib/volt/kernel/vmlinux", NULL };

void config_find_programs(struct config *config)
{
    if (!config->vms.volt_vmm[0])
        find_beside(volt_vmm_places, config->vms.volt_vmm);
    if (!config->volt_gate[0])
        find_beside(volt_gate_places, config->volt_gate);
    if (!config->volt_e2b[0])
        find_beside(volt_e2b_places, config->volt_e2b);
}

/* The newest kernel that the project's build script has put into its cache. */
static void find_cached(char ret_path[PATH_MAX])
{
    const char *cache = variable("XDG_CACHE_HOME"), *home = variable("HOME");
    char pattern[PATH_MAX];
    struct timespec newest = { 0 };
    glob_t found;

    if (!cache && !home)
        return;
    snprintf(pattern, sizeof pattern, "%s%s/volt/kernel/*/vmlinux", cache ? cache : home,
             cache ? "" : "/.cache");
    if (glob(pattern, 0, NULL, &found) != 0)
        return;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        struct stat st;

        if (stat(found.gl_pathv[i], &st) < 0 || st.st_mtim.tv_sec < newest.tv_sec ||
            strlen(found.gl_pathv[i]) >= PATH_MAX)
            continue;
        newest = st.st_mtim;
        snprintf(ret_path, PATH_MAX, "%s", found.gl_pathv[i]);
    }
    globfree(&found);
}

/* A stock kernel needs VT-x or SVM, and an initramfs with its modules. */
static bool find_stock(struct config *config)
{
    char kernel[PATH_MAX] = "", initrd[PATH_MAX] = "";

    if (access("/sys/module/kvm_pvm", F_OK) == 0)
        return false;
    find_beside(stock_kernel_places, kernel);
    find_beside(stock_initrd_places, initrd);
    if (!kernel[0] || !initrd[0])
        return false;
    memcpy(config->vms.kernel, kernel, sizeof kernel);
    if (!config->vms.initrd[0])
        memcpy(config->vms.initrd, initrd, sizeof initrd);
    return true;
}

void config_find_kernel(struct config *config)
{
    find_beside(initrd_places, config->vms.plain_initrd);
    if (config->vms.initrd[0])
        memcpy(config->vms.plain_initrd, config->vms.initrd, sizeof config->vms.initrd);
    if ((!config->vms.kernel[0] || strcmp(config->vms.kernel, "auto") == 0) &&
        !find_stock(config)) {
        config->vms.kernel[0] = '\0';
        find_beside(own_kernel_places, config->vms.kernel);
        if (!config->vms.kernel[0])
            find_cached(config->vms.kernel);
    }
    if (!config->vms.initrd[0])
        memcpy(config->vms.initrd, config->vms.plain_initrd, sizeof config->vms.initrd);
}

static int make_absolute(char path[PATH_MAX], struct err *err)
{
    char cwd[PATH_MAX], whole[2 * PATH_MAX];

    if (!path[0] || path[0] == '/')
        return 0;
    if (!getcwd(cwd, sizeof cwd))
        return err_set_errno(err, errno, "can't find the current directory");
    snprintf(whole, sizeof whole, "%s/%s", cwd, path);
    if (strlen(whole) >= PATH_MAX)
        return err_set(err, ENAMETOOLONG, "the path of an option is too long");
    memcpy(path, whole, strlen(whole) + 1);
    return 0;
}

int config_make_absolute(struct config *config, struct err *err)
{
    char *paths[] = { config->file,        config->run_dir,      config->state_dir,
                      config->socket,      config->policy,       config->vms.volt_vmm,
                      config->vms.kernel,  config->vms.initrd,   config->vms.plain_initrd,
                      config->uid_locks,   config->volt_gate,    config->listen_callers,
                      config->listen_cert, config->listen_key,   config->volt_e2b,
                      config->e2b_keys,    config->e2b_tls_cert, config->e2b_tls_key };

    for (unsigned i = 0; i < ARRAY_LEN(paths); i++) {
        if (make_absolute(paths[i], err) < 0)
            return -err->code;
        /* They are in replies, and in files that are JSON. */
        if (!text_is_clean(paths[i]))
            return err_set(err, EINVAL, "a path has bytes that can't be shown as text: %s",
                           paths[i]);
    }
    return 0;
}
