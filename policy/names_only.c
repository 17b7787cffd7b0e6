/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/match.h"
#include "policy/store.h"

struct found {
	bool names; /* an ApplicationNetworkPolicy admits a name */
	bool more;  /* something admits what is no name */
};

static void look_at(const struct policy *p, struct found *f)
{
	for (size_t i = 0; i < p->nentries; i++) {
		for (size_t k = 0; k < p->entries[i].npeers; k++) {
			bool name = p->entries[i].peers[k].kind == PEER_NAME || p->entries[i].peers[k].kind == PEER_ASK;

			f->names = f->names || name;
			f->more = f->more || !name;
		}
	}
}

bool store_names_only(const struct store *s, const struct subject *subject)
{
	struct found found = {};

	for (size_t i = 0; i < s->nfiles; i++) {
		for (size_t k = 0; k < s->files[i]->nin_force; k++) {
			const struct policy *p = s->files[i]->in_force[k].policy;

			if ((p->kind == POLICY_ANP || p->kind == POLICY_NP) &&
			    selector_matches(&p->selector, subject, NULL))
				look_at(p, &found);
		}
	}
	return found.names && !found.more;
}
