/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last known state of the cluster as a file: how it is written and read, without I/O.
 *
 *	sluice-state 1
 *	{"boot_id": "…", "node": "…", "cluster": "…"}
 *	@/api/v1/pods                    a collection that is known whole; its objects follow
 *	{"apiVersion": "v1", …}          one object a line
 *	!{…}                             of the policy on the next line the text that was accepted last
 *	# 0123456789abcdef               SipHash-2-4 under the zero key of all bytes before, and the end
 *
 * A file is taken whole or not at all: one that is torn, of another format or of a newer version is refused.
 */
#ifndef SLUICE_AGENT_KUBE_STATE_H
#define SLUICE_AGENT_KUBE_STATE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/siphash.h"
#include "base/strbuf.h"

#define KUBE_STATE_VERSION 1
#define KUBE_STATE_NAME	   256

struct kube_state_head {
	char boot_id[40];	    /* of the boot it was written in */
	char node[KUBE_STATE_NAME]; /* whose it is */
	char cluster[40];	    /* and of which cluster */
};

/* ---- writing: in this order, whatever fails is seen in `bytes.failed` ---- */

/* What was written and not taken yet, and the checksum of what was taken before it. */
struct kube_state_out {
	struct strbuf bytes;
	struct siphash sum;
};

/* Whatever is in `out` is overwritten. */
void kube_state_begin(struct kube_state_out *out, const struct kube_state_head *head);
void kube_state_collection(struct kube_state_out *out, const char *path);
/* JSON of which line breaks and indentation are left out: an object, or a policy's accepted text. */
void kube_state_object(struct kube_state_out *out, const char *text);
void kube_state_accepted(struct kube_state_out *out, const char *text);
void kube_state_end(struct kube_state_out *out);
/* The bytes so far, the caller's to clear; what is written next comes after them. At any time, none left at the end. */
struct strbuf kube_state_take(struct kube_state_out *out);

/* ---- reading ---- */

enum kube_state_record {
	KUBE_STATE_END,
	KUBE_STATE_COLLECTION, /* `text` is its path */
	KUBE_STATE_OBJECT,     /* `object` */
	KUBE_STATE_ACCEPTED,   /* `text` and `object` are the same */
};

/* `= {}`, then kube_state_open(); its strings last as long as the bytes, the object until the next call. */
struct kube_state {
	struct kube_state_head head;
	const char *at; /* the rest */
	const char *end;
	const char *text; /* not NUL-terminated */
	size_t len;
	json_t *object;
};

/*
 * Looks through all of it. 0: every record will be had. -EINVAL, and `error` says why it is refused: nothing is to be taken of it.
 */
int kube_state_open(struct kube_state *s, const char *bytes, size_t len, char *error, size_t size);
/* -ENOMEM, or an enum kube_state_record. */
int kube_state_next(struct kube_state *s);
void kube_state_close(struct kube_state *s);

#endif
