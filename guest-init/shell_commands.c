/* SPDX-License-Identifier: Apache-2.0 */
/* The console shell's built-in commands. */
#include "shell_commands.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "system.h"

#define COPY_BYTES 4096

static void complain(const char *what, const char *subject)
{
    struct fail fail;

    fail_set_errno(&fail, errno, what, subject);
    console_write(fail.sentence);
    console_write("\n");
}

static void copy_file(const char *path)
{
    char buffer[COPY_BYTES + 1];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t count = 0;

    while (fd >= 0 && (count = read(fd, buffer, COPY_BYTES)) > 0) {
        const char *at = buffer, *end = buffer + count;

        while (at < end) {
            ssize_t written = write(STDOUT_FILENO, at, (size_t)(end - at));

            if (written <= 0)
                break;
            at += written;
        }
    }
    if (fd < 0 || count < 0)
        complain("can't read", path);
    if (fd >= 0)
        close(fd);
}

static void command_help(char **words)
{
    (void)words;
    for (const struct shell_command *command = shell_commands; command->name; command++) {
        char line[128];
        struct text text;

        text_init(&text, line, sizeof(line));
        text_add(&text, "  ");
        text_add(&text, command->usage);
        text_pad(&text, 20);
        text_add(&text, command->help);
        text_add(&text, "\n");
        console_write(line);
    }
    console_write("  PROGRAM [ARG...]  run a program\n");
}

static void command_sysinfo(char **words)
{
    char buffer[512];
    struct text text;

    (void)words;
    text_init(&text, buffer, sizeof(buffer));
    system_describe(&text, "");
    console_write(buffer);
}

/* "PID (name) state ppid ..." of /proc/PID/stat; the name may hold anything. */
static void print_process(const char *pid)
{
    char path[64], stat[512], line[256];
    char *name, *end;
    struct text text;
    ssize_t count;
    int fd;

    text_init(&text, path, sizeof(path));
    text_add(&text, "/proc/");
    text_add(&text, pid);
    text_add(&text, "/stat");
    fd = open(path, O_RDONLY | O_CLOEXEC);
    count = fd < 0 ? -1 : read(fd, stat, sizeof(stat) - 1);
    if (fd >= 0)
        close(fd);
    if (count <= 0)
        return; /* it ended meanwhile */
    stat[count] = '\0';
    name = strchr(stat, '(');
    end = strrchr(stat, ')');
    if (!name || !end || !end[1] || !end[2])
        return;
    *end = '\0';
    text_init(&text, line, sizeof(line));
    text_add(&text, pid);
    text_pad(&text, 8);
    text_add_bytes(&text, end + 2, 1);
    text_add(&text, "  ");
    text_add(&text, name + 1);
    text_add(&text, "\n");
    console_write(line);
}

static void command_ps(char **words)
{
    DIR *proc = opendir("/proc");
    const struct dirent *entry;

    (void)words;
    if (!proc) {
        complain("can't read", "/proc");
        return;
    }
    console_write("PID     S  NAME\n");
    while ((entry = readdir(proc)))
        if (text_to_number(entry->d_name, INT32_MAX) > 0)
            print_process(entry->d_name);
    closedir(proc);
}

static void command_mount(char **words)
{
    (void)words;
    copy_file("/proc/mounts");
}

static void print_file(DIR *dir, const char *name)
{
    static const struct {
        mode_t type;
        const char *letter;
    } types[] = { { S_IFDIR, "d" }, { S_IFLNK, "l" }, { S_IFREG, "-" }, { S_IFCHR, "c" },
                  { S_IFBLK, "b" }, { S_IFIFO, "p" }, { S_IFSOCK, "s" } };
    char line[512];
    struct stat st;
    struct text text;

    if (fstatat(dirfd(dir), name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return;
    text_init(&text, line, sizeof(line));
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if ((st.st_mode & S_IFMT) == types[i].type)
            text_add(&text, types[i].letter);
    for (int bit = 8; bit >= 0; bit--)
        text_add_bytes(&text, (st.st_mode >> bit) & 1 ? &"xwr"[bit % 3] : "-", 1);
    text_add(&text, "  ");
    text_add_u64(&text, (uint64_t)st.st_size);
    text_pad(&text, 24);
    text_add(&text, name);
    text_add(&text, "\n");
    console_write(line);
}

static void command_ls(char **words)
{
    const char *path = words[1] ? words[1] : ".";
    DIR *dir = opendir(path);
    const struct dirent *entry;

    if (!dir) {
        complain("can't list", path);
        return;
    }
    while ((entry = readdir(dir)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            print_file(dir, entry->d_name);
    closedir(dir);
}

static void command_cat(char **words)
{
    if (!words[1])
        console_write("usage: cat FILE...\n");
    for (char **word = words + 1; *word; word++)
        copy_file(*word);
}

static void command_cd(char **words)
{
    const char *path = words[1] ? words[1] : "/";

    if (chdir(path) < 0)
        complain("can't change to", path);
}

static void command_hostname(char **words)
{
    char name[65] = "";

    if (words[1]) {
        if (sethostname(words[1], strlen(words[1])) < 0)
            complain("can't set the hostname", words[1]);
        return;
    }
    gethostname(name, sizeof(name) - 1);
    console_write(name);
    console_write("\n");
}

static void command_net(char **words)
{
    (void)words;
    copy_file("/proc/net/dev");
    copy_file("/proc/net/route");
}

static void command_poweroff(char **words)
{
    (void)words;
    system_power_off();
}

const struct shell_command shell_commands[] = {
    { "help", "help", "this list", command_help },
    { "sysinfo", "sysinfo", "kernel, memory, CPUs, uptime", command_sysinfo },
    { "ps", "ps", "processes", command_ps },
    { "mount", "mount", "mounted filesystems", command_mount },
    { "ls", "ls [DIR]", "files of a folder", command_ls },
    { "cat", "cat FILE...", "contents of files", command_cat },
    { "cd", "cd [DIR]", "change folder", command_cd },
    { "hostname", "hostname [NAME]", "tell or set the hostname", command_hostname },
    { "net", "net", "network interfaces and routes", command_net },
    { "poweroff", "poweroff", "end this VM", command_poweroff },
    { NULL, NULL, NULL, NULL },
};
