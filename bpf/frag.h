/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Fragments. Only the first carries ports, so only it is judged; the later ones follow it or drop. A first fragment
 * that was refused leaves no entry, and neither does one to the proxy, which is refused as such (hazard 3).
 */
#ifndef SLUICE_BPF_FRAG_H
#define SLUICE_BPF_FRAG_H

#include "bpf/bucket.h"
#include "bpf/maps.h"
#include "bpf/work.h"

/*
 * How long the others may follow the first. RFC 791 and RFC 8200 have receivers wait 15 and 60 s; a sender's come
 * together. Without an end a pod could go on sending, under the number of a datagram long gone, to an address whose
 * lease has expired.
 */
#define FRAG_LIFE_NS (5 * NSEC_PER_SEC)

static SLUICE_INLINE void frag_set_key(struct work *w)
{
	struct sluice_frag_key *key = &w->frag.key;

	__builtin_memset(key, 0, sizeof(*key));
	key->endpoint = w->endpoint;
	key->generation = w->generation;
	key->local = w->packet.src;
	key->remote = w->packet.dst;
	key->id = w->packet.frag_id;
	key->proto = w->packet.frag_proto;
}

static SLUICE_INLINE bool frag_key_equal(const struct sluice_frag_key *a, const struct sluice_frag_key *b)
{
	return a->endpoint == b->endpoint && a->generation == b->generation && addr_equal(&a->local, &b->local) &&
	       addr_equal(&a->remote, &b->remote) && a->id == b->id && a->proto == b->proto;
}

/* The first fragment passed under `judged`: its datagram's others may follow it. */
static SLUICE_INLINE void frag_remember(struct work *w, __u64 judged)
{
	frag_set_key(w);
	w->frag.judged = judged;
	w->frag.seen = w->now;
	bpf_map_update_elem(&frags, &w->frag.key, &w->frag, BPF_ANY);
}

/* What the first one was judged under, in *ret. An evicted, recycled or old entry is none. */
static SLUICE_INLINE bool frag_find(struct work *w, __u64 *ret)
{
	const struct sluice_frag *frag;
	__u64 judged, seen;

	frag_set_key(w);
	frag = bpf_map_lookup_elem(&frags, &w->frag.key);
	if (!frag)
		return false;
	judged = *(const volatile __u64 *)&frag->judged;
	seen = *(const volatile __u64 *)&frag->seen;
	if (!frag_key_equal(&frag->key, &w->frag.key) || w->now > seen + FRAG_LIFE_NS)
		return false;
	*ret = judged;
	return true;
}

#endif
