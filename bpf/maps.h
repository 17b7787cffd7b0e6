/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The maps, under the names of abi.h. User space may resize them before the object is loaded.
 *
 * What is large and mostly empty allocates as it fills (NO_PREALLOC): 262,144 flows would take 56 MB on every node
 * otherwise, and a look-up costs the same. An allocation that fails denies, as a full table does. `frags` must evict,
 * since nobody collects it, and losing an entry only drops the rest of a datagram; an LRU is always preallocated.
 */
#ifndef SLUICE_BPF_MAPS_H
#define SLUICE_BPF_MAPS_H

#include "bpf/kernel.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sluice_settings);
} settings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, SLUICE_MAX_ENDPOINTS);
	__type(key, __u32);
	__type(value, struct sluice_if);
} ifindexes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, SLUICE_MAX_ENDPOINTS);
	__type(key, __u32);
	__type(value, struct sluice_endpoint);
} endpoints SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, SLUICE_MAX_ENDPOINTS);
	__type(key, __u32);
	__type(value, struct sluice_runtime);
} runtime SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLUICE_MAX_ENDPOINTS);
	__type(key, __u32);
	__type(value, struct sluice_label);
} labels SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SLUICE_MAX_DESTS / 40);
	__type(key, __u64);
	__type(value, struct sluice_dest_page);
} dests SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SLUICE_MAX_RULES);
	__type(key, struct sluice_rule_key);
	__type(value, struct sluice_rule);
} rules SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SLUICE_MAX_LEASES);
	__type(key, struct sluice_lease_key);
	__type(value, struct sluice_lease);
} leases SEC(".maps");

/* Nobody maps it: the flag makes its elements begin at a page, and so each at a line of memory. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, SLUICE_MAX_LEASE_LINES);
	__type(key, __u32);
	__type(value, struct sluice_lease_line);
} lease_lines SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, SLUICE_LEASE_USE_WORDS);
	__type(key, __u32);
	__type(value, __u64);
} lease_use SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SLUICE_MAX_NAMES);
	__type(key, __u64);
	__type(value, struct sluice_name);
} names SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SLUICE_MAX_CLUSTER);
	__type(key, struct sluice_addr);
	__type(value, struct sluice_cluster);
} cluster SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, SLUICE_CLUSTER_QUIET_WORDS);
	__type(key, __u32);
	__type(value, __u64);
} cluster_quiet SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SLUICE_MAX_FLOWS);
	__type(key, struct sluice_flow_key);
	__type(value, struct sluice_flow);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, SLUICE_MAX_FRAGS);
	__type(key, struct sluice_frag_key);
	__type(value, struct sluice_frag);
} frags SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, SLUICE_EVENTS_BYTES);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SLUICE_TOTAL_MAX);
	__type(key, __u32);
	__type(value, __u64);
} totals SEC(".maps");

/* Values are 64 bits so that user space can read cookies back; the kernel side sees sockets. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, SLUICE_SOCK_MAX);
	__type(key, __u32);
	__type(value, __u64);
} dns_sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1 + SLUICE_DNS_LOG_RECORDS);
	__type(key, __u32);
	__type(value, struct sluice_dns_record);
} dns_log SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sluice_dns_stats);
} dns_stats SEC(".maps");

#endif
