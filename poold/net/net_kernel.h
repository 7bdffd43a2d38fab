/* SPDX-License-Identifier: Apache-2.0 */
/* The wall around taps, macvtaps and passt processes that the host's kernel keeps: the programs of
 * net_programs.bpf.c and their maps. What is attached to a link stays there, with its policies, when
 * poold ends, and goes with the link. Needs root, or CAP_BPF, CAP_PERFMON and
 * CAP_NET_ADMIN. Any thread, but for open and close. */
#ifndef VOLT_POOLD_NET_KERNEL_H
#define VOLT_POOLD_NET_KERNEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "net/net_rules.h"

struct net_kernel;

/* What outlives a poold: the maps, with all that is in them, and what is attached to passt's group. */
#define NET_KERNEL_MAPS 7u
#define NET_KERNEL_FDS (NET_KERNEL_MAPS + 4)

/* Loads the programs, about 20 ms. maps (borrowed, NULL: none): those of the poold before, which it
 * goes on with. 0 or -errno with a sentence that says what the host lacks; -ESTALE: these maps are
 * none that the programs can use. */
int net_kernel_open(struct net_kernel **ret_kernel, const int maps[NET_KERNEL_MAPS],
                    struct err *err);
/* The kernel's own fds; -1: there is none (yet). */
void net_kernel_fds(const struct net_kernel *kernel, int ret_fds[NET_KERNEL_FDS]);
/* NULL is fine. */
void net_kernel_close(struct net_kernel *kernel);

/* Has every frame of the link `index`, in the calling thread's network namespace, judged from now
 * on; nothing passes until it is put. `macvtap`: it is one, no tap. 0 or -errno with a sentence. */
int net_kernel_attach(const struct net_kernel *kernel, uint32_t index, bool macvtap,
                      struct err *err);
/* Has all packets of the processes of a cgroup v2 judged, by their uid, while the kernel is open;
 * once. 0 or -errno with a sentence. */
int net_kernel_attach_cgroup(struct net_kernel *kernel, int cgroup_fd, struct err *err);

/* The rules that VMs name by `policy`. 0 or -errno. */
int net_kernel_put_policy(const struct net_kernel *kernel, uint32_t policy,
                          const struct net_rules *rules);
void net_kernel_remove_policy(const struct net_kernel *kernel, uint32_t policy);

/* Who is behind the link `index`. 0; -EEXIST: another VM is; -errno. */
int net_kernel_put_vm(const struct net_kernel *kernel, uint32_t index, const struct net_vm *vm);
/* *ret_drops: what was dropped of its frames; zeroes where it is not there. */
void net_kernel_drops(const struct net_kernel *kernel, uint32_t index, struct net_drops *ret_drops);
void net_kernel_remove_vm(const struct net_kernel *kernel, uint32_t index);

/* Whom passt works for when it runs with that uid, and the host's ports that it may have, at most
 * NET_OPENED_MAX. 0 or -errno. */
int net_kernel_put_passt(const struct net_kernel *kernel, uint32_t uid, const struct net_vm *vm,
                         const struct net_opened *opened, unsigned count);
void net_kernel_remove_passt(const struct net_kernel *kernel, uint32_t uid);

/* A prefix that is the host's own, or is no more; host byte order. 0 or -errno. */
int net_kernel_put_host(const struct net_kernel *kernel, uint32_t network, uint32_t bits);
void net_kernel_remove_host(const struct net_kernel *kernel, uint32_t network, uint32_t bits);

/* An address whose port 53 passt may use whatever the policy says: the host's resolver; host byte
 * order. 0 or -errno. */
int net_kernel_put_resolver(const struct net_kernel *kernel, uint32_t address);

#endif
