/* SPDX-License-Identifier: Apache-2.0 */
/* What volt-e2b says of itself, for --help and its manual page. */
#ifndef VOLT_CLI_E2B_HELP_H
#define VOLT_CLI_E2B_HELP_H

#define E2B_PORT 3000

#define E2B_USAGE                                                                                  \
    "usage: volt-e2b [OPTION...]\n"                                                                \
    "Serves poold's VMs as sandboxes to clients of E2B (docs/e2b.md). 'poold --e2b' starts "       \
    "it.\n\n"
#define E2B_OPTIONS                                                                                \
    "  --listen HOST:PORT    where (127.0.0.1:3000); beyond this host only with --keys\n"          \
    "  --keys FILE           API keys that may create sandboxes, one a line; each sees its own\n"  \
    "  --pool NAME           the pool of the template \"base\" (default)\n"                        \
    "  --template NAME=POOL  pools of other templates, with commas between; what is not named is " \
    "a pool\n"                                                                                     \
    "  --tls-cert FILE       serve HTTPS with this certificate (PEM), and\n"                       \
    "  --tls-key FILE        this key\n"                                                           \
    "  --socket PATH         poold's socket\n"                                                     \
    "  --check               say what is wrong with the options, and end\n"                        \
    "  --with-parent PID     end with that process, which started it\n"                            \
    "  --version, --help\n"
#define E2B_EXAMPLES                                                                               \
    "  volt-e2b --listen 127.0.0.1:3000 &\n"                                                       \
    "  export E2B_API_URL=http://127.0.0.1:3000 E2B_SANDBOX_URL=http://127.0.0.1:3000\n"           \
    "  export E2B_API_KEY=e2b_0000000000000000000000000000000000000000\n"                          \
    "  node -e \"import('e2b').then(async ({ Sandbox }) => {\n"                                    \
    "    const sandbox = await Sandbox.create()\n"                                                 \
    "    console.log((await sandbox.commands.run('uname -a')).stdout)\n"                           \
    "    await sandbox.kill() })\"\n"

#endif
