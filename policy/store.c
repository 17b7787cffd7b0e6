/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * Per file: the policies in force, and those the present text holds but which were refused. A new text is read aside
 * and swapped in whole, so that running out of memory leaves the old state.
 *
 *   accepted policy                    in force
 *   refused, an older text accepted    the older one stays in force (last good), the refusal is kept beside it:
 *                                      select.c denies what the refused text selects beyond the last good one
 *   refused, no older text             the refusal alone
 *   the same with a member more that   the older one stays in force, with a warning: an upgraded API may add a member of
 *   nobody here knows                  its own to every object (hazard 32)
 *   text is no YAML                    everything stays as it was; with nothing in force, a refusal of the whole file
 */
#include "policy/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/array.h"
#include "policy/manifest.h"

bool store_same_identity(const struct policy *a, const struct policy *b)
{
	return strcmp(a->kind_name, b->kind_name) == 0 && strcmp(a->title, b->title) == 0;
}

static void file_freep(struct store_file **file)
{
	struct store_file *f = *file;

	if (!f)
		return;
	for (size_t i = 0; i < f->nin_force; i++)
		policy_unrefp(&f->in_force[i].policy);
	for (size_t i = 0; i < f->nrefused; i++)
		policy_unrefp(&f->refused[i]);
	free(f->in_force);
	free(f->refused);
	free(f->name);
	free(f);
	*file = NULL;
}

static struct store_file *file_new(const char *name)
{
	CLEANUP(file_freep) struct store_file *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->name = strdup(name);
	return f->name ? TAKE_PTR(f) : NULL;
}

static int add_in_force(struct store_file *f, struct policy *p, bool last_good)
{
	struct store_policy *slot = array_push(&f->in_force, &f->nin_force, sizeof(*slot));

	if (!slot)
		return -ENOMEM;
	slot->policy = policy_ref(p);
	slot->last_good = last_good;
	return 0;
}

static int add_refused(struct store_file *f, struct policy *p)
{
	struct policy **slot = array_push(&f->refused, &f->nrefused, sizeof(*slot));

	if (!slot)
		return -ENOMEM;
	*slot = policy_ref(p);
	return 0;
}

static bool has_refused(const struct store_file *f, const struct policy *p)
{
	for (size_t i = 0; i < f->nrefused; i++)
		if (store_same_identity(f->refused[i], p))
			return true;
	return false;
}

/* Once per identity: an object of several specs comes as several policies. */
static int keep_last_good(struct store_file *f, const struct store_file *old, const struct policy *refused)
{
	for (size_t i = 0; old && i < old->nin_force; i++) {
		int r = store_same_identity(old->in_force[i].policy, refused)
				? add_in_force(f, old->in_force[i].policy, true)
				: 0;

		if (r < 0)
			return r;
	}
	return 0;
}

/* An object of which one definition was accepted needs no older text of the same name. */
static bool accepted(const struct manifest *m, const struct policy *p)
{
	for (size_t i = 0; i < m->count; i++)
		if (!m->policies[i]->refused && store_same_identity(m->policies[i], p))
			return true;
	return false;
}

static bool has_in_force(const struct store_file *f, const struct policy *p)
{
	for (size_t i = 0; i < f->nin_force; i++)
		if (store_same_identity(f->in_force[i].policy, p))
			return true;
	return false;
}

/* What is known in the refused text is what is in force, and it only has members more. */
static bool only_grew(const struct store_file *old, const struct policy *p)
{
	for (size_t i = 0; old && p->only_unknown && i < old->nin_force; i++)
		if (store_same_identity(old->in_force[i].policy, p) && old->in_force[i].policy->known == p->known)
			return true;
	return false;
}

static void errors_to_warnings(struct diags *d, const struct policy *p)
{
	for (size_t i = p->first_diag; i < p->first_diag + p->ndiags && i < d->count; i++) {
		if (d->items[i].level != DIAG_ERROR)
			continue;
		d->items[i].level = DIAG_WARNING;
		d->errors--;
	}
}

static int take_refused(struct store_file *f, const struct store_file *old, const struct manifest *m, struct policy *p,
			struct diags *diags)
{
	int r = 0;

	if (only_grew(old, p)) {
		errors_to_warnings(diags, p);
		return has_in_force(f, p) ? 0 : keep_last_good(f, old, p);
	}
	if (!has_refused(f, p) && !accepted(m, p))
		r = keep_last_good(f, old, p);
	return r < 0 ? r : add_refused(f, p);
}

static int file_build(struct store *s, const struct store_file *old, const struct manifest *m, struct store_file *f,
		      struct diags *diags)
{
	for (size_t i = 0; i < m->count; i++) {
		struct policy *p = m->policies[i];
		int r;

		p->serial = ++s->next_serial;
		r = p->refused ? take_refused(f, old, m, p, diags) : add_in_force(f, p, false);
		if (r < 0)
			return r;
	}
	return 0;
}

/* A refusal that stands for a text nobody could read. `closes`: nothing of the file is in force to go on with. */
static struct policy *unreadable(struct store *s, const char *file, const struct diags *diags, bool closes)
{
	const struct diag *last = diags->count ? &diags->items[diags->count - 1] : NULL;
	CLEANUP(policy_unrefp) struct policy *p = policy_new();

	if (!p)
		return NULL;
	p->serial = ++s->next_serial;
	p->kind = POLICY_OTHER;
	p->kind_name = strdup("file");
	p->title = strdup(file);
	p->file = strdup(file);
	p->line = last && last->line ? last->line : 1;
	p->column = last && last->column ? last->column : 1;
	p->refused = true;
	p->selects_nothing = !closes;
	p->refusal = strdup(last ? last->message : "not YAML");
	if (!p->kind_name || !p->title || !p->file || !p->refusal)
		return NULL;
	return TAKE_PTR(p);
}

static int file_stay(struct store *s, const struct store_file *old, const struct diags *diags, struct store_file *f)
{
	CLEANUP(policy_unrefp) struct policy *p = unreadable(s, f->name, diags, !old || old->nin_force == 0);
	int r = 0;

	for (size_t i = 0; old && i < old->nin_force && r >= 0; i++)
		r = add_in_force(f, old->in_force[i].policy, true);
	for (size_t i = 0; old && i < old->nrefused && r >= 0; i++)
		if (strcmp(old->refused[i]->kind_name, "file") != 0)
			r = add_refused(f, old->refused[i]);
	if (r < 0)
		return r;
	return p ? add_refused(f, p) : -ENOMEM;
}

/* Files are in the order of their names: the place of this one, or where it belongs. */
static size_t file_place(const struct store *s, const char *name)
{
	size_t low = 0, high = s->nfiles;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (strcmp(s->files[mid]->name, name) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static struct store_file **find_file(const struct store *s, const char *name)
{
	size_t at = file_place(s, name);

	return at < s->nfiles && strcmp(s->files[at]->name, name) == 0 ? &s->files[at] : NULL;
}

static struct store_file **insert_file(struct store *s, const char *name)
{
	size_t at = file_place(s, name);
	struct store_file **files;

	if (!array_push(&s->files, &s->nfiles, sizeof(*s->files)))
		return NULL;
	files = s->files;
	memmove(files + at + 1, files + at, (s->nfiles - at - 1) * sizeof(*files));
	files[at] = NULL;
	return &files[at];
}

static bool taken_whole(const struct store_file *f)
{
	for (size_t i = 0; i < f->nin_force; i++)
		if (f->in_force[i].last_good)
			return false;
	return f->nrefused == 0;
}

int store_update(struct store *s, const char *file, const char *text, size_t len, struct diags *diags)
{
	CLEANUP(file_freep) struct store_file *f = file_new(file);
	CLEANUP(manifest_clear) struct manifest m = {};
	struct store_file **slot = find_file(s, file);
	int r;

	if (!f)
		return -ENOMEM;
	r = manifest_read(file, text, len, diags, &m);
	if (r == -ENOMEM)
		return r;
	r = r < 0 ? file_stay(s, slot ? *slot : NULL, diags, f) : file_build(s, slot ? *slot : NULL, &m, f, diags);
	if (r < 0)
		return r;
	if (!slot)
		slot = insert_file(s, file);
	if (!slot)
		return -ENOMEM;
	file_freep(slot);
	*slot = TAKE_PTR(f);
	s->generation++;
	return taken_whole(*slot) ? 0 : 1;
}

int store_remove(struct store *s, const char *file)
{
	struct store_file **slot = find_file(s, file);

	if (!slot)
		return -ENOENT;
	file_freep(slot);
	s->generation++;
	/* array_push() wants an array that only grew; the count may fall: capacity is then larger than it will assume, never
	 * smaller. */
	s->nfiles--;
	memmove(slot, slot + 1, (s->nfiles - (size_t)(slot - s->files)) * sizeof(*slot));
	return 0;
}

int store_new(struct store **ret)
{
	struct store *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	*ret = s;
	return 0;
}

void store_freep(struct store **s)
{
	if (!*s)
		return;
	for (size_t i = 0; i < (*s)->nfiles; i++)
		file_freep(&(*s)->files[i]);
	free((*s)->files);
	free(*s);
	*s = NULL;
}

size_t store_policy_count(const struct store *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->nfiles; i++)
		n += s->files[i]->nin_force;
	return n;
}

size_t store_refused_count(const struct store *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->nfiles; i++)
		n += s->files[i]->nrefused;
	return n;
}

size_t store_entry_count(const struct store *s)
{
	return store_policy_count(s) + store_refused_count(s);
}

static void fill_entry(const struct policy *p, bool last_good, struct store_entry *ret)
{
	*ret = (struct store_entry){
		.policy = p->title,
		.kind = p->kind_name,
		.file = p->file,
		.line = p->line,
		.refused = p->refused,
		.last_good = last_good,
	};
}

void store_entry_at(const struct store *s, size_t i, struct store_entry *ret)
{
	for (size_t n = 0; n < s->nfiles; n++) {
		const struct store_file *f = s->files[n];

		if (i < f->nin_force) {
			fill_entry(f->in_force[i].policy, f->in_force[i].last_good, ret);
			return;
		}
		i -= f->nin_force;
		if (i < f->nrefused) {
			fill_entry(f->refused[i], false, ret);
			return;
		}
		i -= f->nrefused;
	}
	*ret = (struct store_entry){};
}
