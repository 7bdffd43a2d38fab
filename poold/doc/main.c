/* SPDX-License-Identifier: Apache-2.0 */
/* poold-doc KIND: run by the build, not installed. Makes of poold's tables its manual pages, the
 * sample configuration, and the tables of docs/operations.md. */
#include <stdio.h>
#include <string.h>

#include "api/metrics_text.h"
#include "base/roff.h"
#include "base/util.h"
#include "config.h"
#include "settings.h"
#include "vms/pool_keys.h"

/* What a setting is when nobody says anything. */
static const char *fallback_of(const struct setting *setting, char text[64])
{
    struct config defaults;

    if (setting->fallback)
        return setting->fallback;
    settings_default(&defaults);
    setting_format(setting, &defaults, text, 64);
    return text;
}

/* ---- Manual pages ---- */

static void settings_roff(bool file)
{
    for (size_t i = 0; i < setting_count; i++) {
        const struct setting *setting = &settings[i];
        char term[96], text[512], value[64];

        if (file && setting->use == SETTING_ARGUMENT)
            continue;
        snprintf(term, sizeof term, "%s%s%s%s", file ? "" : "--", setting->name,
                 setting->argument ? (file ? " = " : " ") : "",
                 setting->argument ? setting->argument : "");
        snprintf(text, sizeof text, "%s.", setting->help);
        if (setting->argument)
            snprintf(text, sizeof text, "%s. Default: %s.%s", setting->help,
                     fallback_of(setting, value),
                     file && setting->use == SETTING_AT_START ? " Takes a restart to change." : "");
        roff_item(stdout, term, text);
    }
}

static void man_poold(void)
{
    roff_begin(stdout, "poold", 8, "keeps pools of running Linux VMs and hands them out");
    roff_section(stdout, "SYNOPSIS");
    roff_lines(stdout, "poold [OPTION...]\npoold --check-config");
    roff_section(stdout, "DESCRIPTION");
    roff_text(stdout,
              "poold boots a VM once, snapshots it, and from then on keeps running copies of it "
              "ready, which voltctl(1) and other clients of its API lease over a Unix socket. It "
              "stays in the foreground, logs to standard error or the journal, and ends on "
              "SIGTERM, with all its VMs. SIGHUP has it read its configuration again.");
    roff_text(stdout, "What is said on the command line comes before what the environment says, "
                      "and that before poold.conf(5).");
    roff_section(stdout, "OPTIONS");
    settings_roff(false);
    roff_section(stdout, "EXIT STATUS");
    roff_item(stdout, "0", "It was asked to end, or --check-config found nothing.");
    roff_item(stdout, "1", "It could not go on; its last words say why.");
    roff_item(stdout, "64", "The command line is wrong.");
    roff_item(stdout, "78", "The configuration is wrong.");
    roff_section(stdout, "ENVIRONMENT");
    for (size_t i = 0; i < setting_count; i++) {
        char text[64];

        snprintf(text, sizeof text, "The same as --%s.", settings[i].name);
        if (settings[i].environment)
            roff_item(stdout, settings[i].environment, text);
    }
    roff_section(stdout, "FILES");
    roff_item(stdout, "/etc/volt/poold.conf, /etc/volt/poold.conf.d/*.conf",
              "The configuration, see poold.conf(5).");
    roff_item(stdout, "/run/volt/poold.sock", "The socket of the API.");
    roff_item(stdout, "/var/lib/volt", "Pools, snapshots and images.");
    roff_item(stdout, "/usr/lib/volt",
              "Guest kernels and initramfs: stock/ for hardware KVM, kernel/ for software-only "
              "KVM. They are looked for in ../lib/volt of poold's own folder.");
    roff_see_also(
        stdout, "voltctl(1), poold.conf(5), volt-vmm(8), volt-gate(8), volt-e2b(8), volt-init(8)");
}

static void man_conf(void)
{
    roff_begin(stdout, "poold.conf", 5, "configuration of poold");
    roff_section(stdout, "SYNOPSIS");
    roff_lines(stdout,
               "/etc/volt/poold.conf\n/etc/volt/poold.conf.d/*.conf\n"
               "$XDG_CONFIG_HOME/volt/poold.conf\n$XDG_CONFIG_HOME/volt/poold.conf.d/*.conf");
    roff_section(stdout, "DESCRIPTION");
    roff_text(stdout,
              "poold(8) reads poold.conf, then the files in poold.conf.d whose names end in .conf, "
              "in the order of their names; a later one replaces what earlier ones say. It reads "
              "them again on SIGHUP, 'voltctl reload' and 'systemctl reload poold'. A file must "
              "belong to root or to poold's user, and must not be writable by everybody. 'poold "
              "--check-config' says whether all is right.");
    roff_text(
        stdout,
        "A line is the head of a section, 'key = value', a comment, which begins with # or ;, "
        "or empty. A value is the rest of its line, without the blanks around it: nothing in "
        "it is quoted or replaced. Yes and no may be written as true and false, on and off. "
        "Unknown sections and keys are errors.");
    roff_section(stdout, "SECTION [poold]");
    settings_roff(true);
    roff_section(stdout, "SECTIONS [pool NAME]");
    roff_text(
        stdout,
        "A pool that poold makes when it starts or reads its configuration again, if there is "
        "none of that name. min, max and shells of one that is there are set to what is "
        "declared; all else stays as it was made. A pool that is not declared any more stays "
        "until 'voltctl pool delete'.");
    for (size_t i = 0; i < pool_key_count; i++) {
        const struct pool_key *row = &pool_keys[i];
        char text[256], values[POOL_KEY_VALUES_BYTES];

        snprintf(text, sizeof text, "%s (%s).%s%s%s", row->help, pool_key_values(&row->key, values),
                 *row->fallback ? " Default: " : "", row->fallback, *row->fallback ? "." : "");
        roff_item(stdout, row->key.name, text);
    }
    roff_section(stdout, "SECTIONS [function NAME]");
    roff_text(
        stdout,
        "A function that poold makes as it makes a declared pool: all keys of [pool NAME] but "
        "service, service_port, service_gate and service_bell, and handler (required), runtime "
        "(http, lambda or doorbell), port, concurrency, queue, queue_ms, timeout_ms and reuse, "
        "which are those of 'voltctl function create'. One that is there gets the limits of "
        "its pool that are declared; all else stays as it was made, and is told.");
    roff_section(stdout, "EXAMPLE");
    roff_lines(stdout, "[poold]\nlog-level = info\nclient-leases = 256\n\n[pool default]\n"
                       "memory = 256M\nmin = 4\nmax = 32\n\n[pool python]\nimage = debian-python\n"
                       "warmup = python3 -c 'import json, ssl'\n\n[function hello]\nimage = hello\n"
                       "handler = exec /app/server\ntimeout_ms = 5000");
    roff_see_also(stdout, "poold(8), voltctl(1)");
}

/* ---- The sample configuration ---- */

static void sample(void)
{
    puts("# Configuration of poold; see poold.conf(5). Lines that begin with # are what holds "
         "anyway.\n"
         "# After a change: 'poold --check-config', then 'systemctl reload poold'.\n"
         "# Files of your own are better kept in poold.conf.d: they outlive upgrades without a "
         "question.\n"
         "\n[poold]");
    for (size_t i = 0; i < setting_count; i++) {
        char value[64];

        if (settings[i].use == SETTING_ARGUMENT)
            continue;
        if (settings[i].kind == SETTING_TEXT)
            printf("# %s (%s)\n#%s = %s\n", settings[i].help, settings[i].fallback,
                   settings[i].name, settings[i].argument);
        else
            printf("# %s\n#%s = %s\n", settings[i].help, settings[i].name,
                   fallback_of(&settings[i], value));
    }
    puts("\n# A pool that is there from the start:\n"
         "#[pool default]\n#memory = 128M\n#min = 2\n#max = 64");
}

/* ---- Tables of docs/operations.md ---- */

/* A bar would end its cell. */
static void cell(const char *text)
{
    for (; *text; text++)
        printf("%s%c", *text == '|' ? "\\" : "", *text);
}

static void settings_markdown(void)
{
    puts("| setting | default | what | a reload |\n|---|---|---|---|");
    for (size_t i = 0; i < setting_count; i++) {
        const struct setting *setting = &settings[i];
        char value[64];

        if (setting->use == SETTING_ARGUMENT)
            continue;
        printf("| `%s` | ", setting->name);
        cell(fallback_of(setting, value));
        printf(" | ");
        cell(setting->help);
        printf("%s%s%s | %s |\n", setting->environment ? " (`$" : "",
               setting->environment ? setting->environment : "", setting->environment ? "`)" : "",
               setting->use == SETTING_LIVE ? "changes it" : "takes a restart");
    }
}

static void pool_keys_markdown(void)
{
    puts("| key | default | values | what |\n|---|---|---|---|");
    for (size_t i = 0; i < pool_key_count; i++) {
        const struct pool_key *row = &pool_keys[i];
        char values[POOL_KEY_VALUES_BYTES];

        printf("| `%s` | %s | %s | %s |\n", row->key.name, row->fallback,
               pool_key_values(&row->key, values), row->help);
    }
}

static void metrics_markdown(void)
{
    puts("| metric | labels | type | what |\n|---|---|---|---|");
    for (size_t i = 0; i < metric_family_count; i++)
        printf("| `%s` | %s | %s | %s |\n", metric_families[i].name, metric_families[i].labels,
               metric_families[i].type, metric_families[i].help);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*print)(void);
    } kinds[] = {
        { "poold.8", man_poold },
        { "poold.conf.5", man_conf },
        { "poold.conf", sample },
        { "settings.md", settings_markdown },
        { "pool-keys.md", pool_keys_markdown },
        { "metrics.md", metrics_markdown },
    };

    for (unsigned i = 0; argc == 2 && i < ARRAY_LEN(kinds); i++) {
        if (strcmp(argv[1], kinds[i].name) == 0) {
            kinds[i].print();
            return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
        }
    }
    fputs("usage: poold-doc poold.8|poold.conf.5|poold.conf|settings.md|pool-keys.md|metrics.md\n",
          stderr);
    return 64;
}
