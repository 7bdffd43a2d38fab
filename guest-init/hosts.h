/* SPDX-License-Identifier: Apache-2.0 */
/* /etc/hosts: localhost, and the VM's own name. */
#ifndef GUEST_HOSTS_H
#define GUEST_HOSTS_H

/* Makes sure that /etc/hosts knows localhost and has a line for this VM, and maps it. Before the
 * snapshot, and again if programs may have written, cut or replaced the file since. Failures are told on the console: the VM goes on without. */
void hosts_prepare(void);

/* Puts the VM's name into its line: at most 63 bytes. No system call. */
void hosts_set(const char *hostname);

#endif
