/* SPDX-License-Identifier: Apache-2.0 */
/* What a pool's VMs may reach, as its operator writes it, and as net_judge.h reads it. Any thread.
 *
 * A policy is two lists, of what is allowed and of what is denied, and the rules that every pool
 * has:
 *   deny 0.0.0.0/8, 127.0.0.0/8 (loopback), 169.254.0.0/16 (link-local: clouds' metadata),
 *   224.0.0.0/4 (multicast), 240.0.0.0/4 (reserved; broadcast) and the host's own addresses;
 *   with passt, allow UDP to port 53 of the gateway, which leads to the host's resolver.
 * What no rule matches is allowed. Of the rules that match, the most specific decides:
 *   1. the longest prefix; each of the host's own addresses counts as one of 32 bits;
 *   2. of equal ones, the operator's rather than that of every pool;
 *   3. the fewest ports, and then one protocol rather than both;
 *   4. the one that denies.
 */
#ifndef VOLT_POOLD_NET_POLICY_H
#define VOLT_POOLD_NET_POLICY_H

#include <stdbool.h>

#include "base/err.h"
#include "net/net_rules.h"

#define NET_POLICY_TEXT_BYTES 1024u

/* One list is RULE[,RULE]..., "" none; RULE is CIDR or the word "host", with :PORT or :FIRST-LAST
 * and then /tcp or /udp, or without. An address without /BITS is that one. `gateway` (host byte
 * order): of the VMs' network; `passt`: they are connected by it. The rules are in the order in
 * which they are to be looked at. 0; -EINVAL with a sentence that names the list. */
int net_policy_parse(const char *allow, const char *deny, uint32_t gateway, bool passt,
                     struct net_rules *ret_rules, struct err *err);

#endif
