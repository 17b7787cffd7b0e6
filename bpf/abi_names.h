/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * The words for abi.h's numbers, in one place, so that the flow log and `bpfctl` cannot disagree. User space only. Every
 * function answers for every number: one that has no word gives "unknown" (reason_name: "UNKNOWN"). The strings are
 * constants.
 */
#ifndef SLUICE_BPF_ABI_NAMES_H
#define SLUICE_BPF_ABI_NAMES_H

#include <stddef.h>
#include <stdint.h>

#include "bpf/abi.h"

/* "POLICY_DENIED": Hubble's own name where the code is Hubble's, else ours in the same style ("NEVER_LEAVES"). */
const char *reason_name(uint8_t reason);
/* A value of Hubble's enum DropReason always: "DROP_REASON_UNKNOWN" for our own codes, 0 and unknown ones. */
const char *reason_hubble(uint8_t reason);
/* Words for people: "no rule allows it". */
const char *reason_text(uint8_t reason);

const char *mode_name(enum sluice_mode mode); /* "quarantine", "enforce", "audit", "open" */
const char *
quarantine_text(enum sluice_quarantine why); /* words for people: "no endpoint is known for the interface" */
const char *event_verdict_name(enum sluice_event_verdict verdict); /* "DROPPED", "FORWARDED", "AUDIT" */
const char *dns_verdict_name(enum sluice_dns_verdict verdict);	   /* "allowed", "denied", ... */
const char *flow_origin_name(enum sluice_flow_origin origin);	   /* "pod", "outside", "host", "tombstone" */
const char *cluster_kind_name(enum sluice_cluster_kind kind);	   /* "node", "pod", "service" */

/* snake_case, as metrics and JSON use them. Totals below SLUICE_TOTAL_FORWARDED are drops: see reason_name. */
const char *total_name(enum sluice_total total);
const char *dns_stat_name(enum sluice_dns_stat stat);

/* "TCP", "UDP", "SCTP", "ICMP", "ICMPv6"; NULL for another. proto_number takes them in any case; 0: none of them. */
const char *proto_name(uint8_t proto);
uint8_t proto_number(const char *name);
/* "A", "AAAA", ...; NULL for one without a name here. */
const char *qtype_name(uint16_t qtype);
/* "NOERROR", "NXDOMAIN", ...; "unknown" for one that has no business here. */
const char *rcode_name(uint8_t rcode);

#endif
