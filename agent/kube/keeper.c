/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * What is kept is a whole state: it is written only while every collection was heard, to another file that is synced and takes the
 * old one's place. That may lag behind, by seconds where much changes. Before something newer is put in force a mark is made in the
 * run directory, and taken away when the file has caught up; so an agent that finds the mark does not go back behind what is in
 * force, which then stays as it is until the API is heard. A mark is of one boot: after another nothing is in force.
 *
 * Writing is a thread's, since a disk may take its time; it is handed the bytes as they are made, all in one go, and gives back
 * how it went. What it has written is given back to the system at once, so that the whole is hardly ever in memory.
 *
 * After another boot the pods of this node have the same uids and other addresses. What they had is left out, as pods' and as
 * Services' backends: it may be another pod's by now.
 */
#include "agent/kube/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent/accepted.h"
#include "agent/api.h"
#include "agent/kube/spool.h"
#include "agent/kube/state.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

#define STATE_MAX      (256u << 20)
#define SETTLE_NSEC    (200 * NSEC_PER_MSEC) /* changes come in bundles */
#define INTERVAL_NSEC  (5 * NSEC_PER_SEC)
#define BYTES_PER_SEC  (200u << 10) /* at most, where the state is large */
#define PART_BYTES     (32u << 10)
#define CONFIRM_NSEC   (30 * NSEC_PER_SEC)
#define BOOT_ID	       "/proc/sys/kernel/random/boot_id"
#define BOOT_ID_LENGTH 36

struct kube_keeper {
	struct kube_keeper_places places;
	struct kube_source *source;
	struct kube_state_head head;
	int dir; /* -1: see `problem` */
	int run;
	sd_event_source *timer;
	sd_event_source *news;
	struct kube_spool *spool; /* NULL: nothing is being written */
	int done;		  /* an eventfd: its thread has ended */
	uint64_t changes;	  /* put in force */
	uint64_t writing;	  /* of those, in what is being written */
	uint64_t kept;		  /* on disk */
	bool marked;
	uint64_t not_before;
	uint64_t failures;
	char problem[256];
};

/* ---- what goes wrong --------------------------------------------------------------------------------------------- */

static void tell(struct kube_keeper *k, const char *what, int error)
{
	char problem[sizeof(k->problem)];

	snprintf(problem, sizeof(problem), "%s: %s", what, strerror(-error));
	k->failures++;
	if (strcmp(problem, k->problem) != 0)
		log_error("stateDir %s: %s; a start while the API is away may not know the cluster", k->places.dir,
			  problem);
	memcpy(k->problem, problem, sizeof(problem));
}

/* ---- the mark ---------------------------------------------------------------------------------------------------- */

/* Without one the file must not be found either. */
static void mark(struct kube_keeper *k)
{
	int r;

	if (k->marked || k->run < 0)
		return;
	r = file_replace(k->run, API_STATE_MARK, k->head.boot_id, strlen(k->head.boot_id), 0600);
	if (r < 0) {
		tell(k, "no mark can be made in the run directory", r);
		if (k->dir >= 0)
			unlinkat(k->dir, API_STATE_FILE, 0);
	}
	k->marked = true;
}

static void unmark(struct kube_keeper *k)
{
	unlinkat(k->run, API_STATE_MARK, 0);
	k->marked = false;
}

static bool is_marked(const struct kube_keeper *k)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = file_read(k->run, API_STATE_MARK, sizeof(k->head.boot_id), &text, &len);

	return r == -ENOENT ? false : r < 0 || !strcmp(text, k->head.boot_id);
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

struct compose {
	const struct kube_keeper *k;
	struct kube_state_out out;
	size_t len; /* handed over */
};

static void hand_over(struct compose *c)
{
	struct strbuf part = kube_state_take(&c->out);

	c->len += part.len;
	kube_spool_add(c->k->spool, &part);
}

static void add_object(void *context, const char *line)
{
	struct compose *c = context;

	kube_state_object(&c->out, line);
	if (c->out.bytes.len >= PART_BYTES)
		hand_over(c);
}

static void add_policies(struct compose *c, unsigned int group)
{
	const struct kube_policies *policies = kube_source_policies(c->k->source);
	struct kube_policy_text p;

	for (size_t i = 0; kube_policies_text(policies, i, &p); i++) {
		_cleanup_free_ char *accepted = NULL;
		size_t len;

		if (p.group != group)
			continue;
		if (!p.valid && accepted_read(c->k->places.accepted, p.file, &accepted, &len) == 0)
			kube_state_accepted(&c->out, accepted);
		add_object(c, p.text);
	}
}

/* 0 or -ENOMEM. */
static int compose(struct compose *c)
{
	const struct kube_keeper *k = c->k;
	const char *path;
	int kind, r = 0;

	kube_state_begin(&c->out, &k->head);
	for (size_t i = 0; r == 0 && (path = kube_source_collection(i, &kind)); i++) {
		kube_state_collection(&c->out, path);
		if (kind == KUBE_SOURCE_POLICIES)
			add_policies(c, (unsigned int)i);
		else if (kind == KUBE_SOURCE_CIDRS)
			kube_cidrs_write(kube_source_cidrs(k->source), add_object, c);
		else
			r = kube_cache_write(kube_source_cache(k->source), (enum kube_kind)kind, add_object, c);
	}
	kube_state_end(&c->out);
	hand_over(c);
	return r;
}

static void wake_at(struct kube_keeper *k, uint64_t when)
{
	sd_event_source_set_time(k->timer, when / 1000);
	sd_event_source_set_enabled(k->timer, SD_EVENT_ONESHOT);
}

static void begin_writing(struct kube_keeper *k)
{
	struct compose c = { .k = k };
	int r = kube_spool_start(k->dir, API_STATE_FILE, k->done, &k->spool);

	k->writing = k->changes;
	if (r == 0)
		kube_spool_end(k->spool, compose(&c));
	k->not_before = clock_now() + INTERVAL_NSEC + c.len * NSEC_PER_SEC / BYTES_PER_SEC;
	if (r == 0)
		return;
	tell(k, "cannot be written", r);
	wake_at(k, k->not_before);
}

static void end_writing(struct kube_keeper *k)
{
	int r = kube_spool_join(&k->spool);

	if (r < 0) {
		tell(k, "cannot be written", r);
		return;
	}
	if (*k->problem)
		log_info("stateDir %s: written again", k->places.dir);
	k->problem[0] = '\0';
	k->kept = k->writing;
	if (k->kept == k->changes)
		unmark(k);
}

static int on_written(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct kube_keeper *k = userdata;
	eventfd_t count;

	(void)source;
	(void)events;
	if (eventfd_read(fd, &count) < 0)
		return 0;
	end_writing(k);
	wake_at(k, k->kept == k->changes ? clock_now() + CONFIRM_NSEC : k->not_before);
	return 0;
}

/* The file's time says until when the cluster was as it says. */
static void confirm(const struct kube_keeper *k)
{
	if (k->kept && kube_source_current(k->source))
		utimensat(k->dir, API_STATE_FILE, NULL, AT_SYMLINK_NOFOLLOW);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct kube_keeper *k = userdata;
	uint64_t now = clock_now();

	(void)source;
	(void)usec;
	if (k->spool)
		return 0;
	if (k->kept == k->changes) {
		confirm(k);
		wake_at(k, now + CONFIRM_NSEC);
	} else if (now < k->not_before) {
		wake_at(k, k->not_before);
	} else if (!kube_source_synced(k->source)) {
		wake_at(k, now + NSEC_PER_SEC);
	} else {
		begin_writing(k);
	}
	return 0;
}

void kube_keeper_changed(struct kube_keeper *k)
{
	mark(k); /* without a folder too: it may be there again at the next start, with what is old by then */
	if (k->dir < 0)
		return;
	if (k->kept == k->changes++ && !k->spool)
		wake_at(k, clock_now() + SETTLE_NSEC);
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

struct restore {
	struct kube_keeper *k;
	struct kube_state state;
	bool rebooted;
	json_t *lost; /* the addresses that pods of this node had, as keys */
	size_t at;    /* the collection */
	int kind;
};

/* False: it is none of these. */
static bool find_collection(struct restore *r)
{
	const char *path;

	for (r->at = 0; (path = kube_source_collection(r->at, &r->kind)); r->at++) {
		if (strlen(path) == r->state.len && !memcmp(path, r->state.text, r->state.len))
			return true;
	}
	return false;
}

/* Every collection is there once, in this order. What a version does not know it cannot obey, and what is missing may close. */
static bool has_all(const struct restore *from)
{
	struct restore r = { .state = from->state };
	size_t next = 0;
	int record, kind;

	while ((record = kube_state_next(&r.state)) > KUBE_STATE_END) {
		if (record == KUBE_STATE_COLLECTION && (!find_collection(&r) || r.at != next++)) {
			json_decref(r.state.object);
			return false;
		}
	}
	return record == KUBE_STATE_END && !kube_source_collection(next, &kind);
}

static void lose(struct restore *r, json_t *list, const char *member)
{
	json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
	{
		const char *text = json_string_value(member ? json_object_get(item, member) : item);

		if (text)
			json_object_set_new(r->lost, text, json_true());
	}
}

static void forget_pod(struct restore *r, json_t *pod)
{
	json_t *spec = json_object_get(pod, "spec"), *status = json_object_get(pod, "status");
	const char *node = json_string_value(json_object_get(spec, "nodeName"));

	if (!node || strcmp(node, r->k->places.node) != 0 || json_is_true(json_object_get(spec, "hostNetwork")))
		return;
	lose(r, json_object_get(status, "podIPs"), "ip");
	json_object_del(status, "podIPs");
}

static void forget_backends(const struct restore *r, json_t *slice)
{
	json_t *endpoint;
	size_t i;

	json_array_foreach(json_object_get(slice, "endpoints"), i, endpoint)
	{
		json_t *addrs = json_object_get(endpoint, "addresses");

		for (size_t k = json_array_size(addrs); k > 0; k--) {
			if (json_object_get(r->lost, json_string_value(json_array_get(addrs, k - 1))))
				json_array_remove(addrs, k - 1);
		}
	}
}

static void take(struct restore *r)
{
	struct kube_policies *policies = kube_source_policies(r->k->source);
	json_t *object = r->state.object;

	if (r->kind == KUBE_SOURCE_POLICIES) {
		kube_policies_put(policies, (unsigned int)r->at, object);
		return;
	}
	if (r->kind == KUBE_SOURCE_CIDRS) {
		kube_cidrs_put(kube_source_cidrs(r->k->source), object);
		return;
	}
	if (r->rebooted && r->kind == KUBE_POD)
		forget_pod(r, object);
	if (r->rebooted && r->kind == KUBE_SLICE)
		forget_backends(r, object);
	kube_cache_put(kube_source_cache(r->k->source), (enum kube_kind)r->kind, object);
}

/* A list of each begins, so that the first whole list heard takes away what is gone by then. */
static void take_collection(struct restore *r)
{
	find_collection(r);
	if (r->kind == KUBE_SOURCE_POLICIES)
		kube_policies_begin(kube_source_policies(r->k->source), (unsigned int)r->at);
	else if (r->kind == KUBE_SOURCE_CIDRS)
		kube_cidrs_begin(kube_source_cidrs(r->k->source));
	else
		kube_cache_begin(kube_source_cache(r->k->source), (enum kube_kind)r->kind);
}

static bool take_all(struct restore *r)
{
	struct kube_cache_stats stats;
	int record;

	r->lost = json_object();
	if (!r->lost)
		return false;
	while ((record = kube_state_next(&r->state)) > KUBE_STATE_END) {
		if (record == KUBE_STATE_COLLECTION)
			take_collection(r);
		else if (record == KUBE_STATE_ACCEPTED)
			kube_policies_recall(kube_source_policies(r->k->source), r->state.object);
		else
			take(r);
	}
	json_decref(r->lost);
	kube_cache_get_stats(kube_source_cache(r->k->source), &stats);
	return record == KUBE_STATE_END && stats.refused == 0;
}

/* Why what is there is not to be taken; NULL: it is. */
static const char *refuse(struct restore *r)
{
	if (strcmp(r->state.head.node, r->k->places.node) != 0)
		return "it is another node's";
	if (strcmp(r->state.head.cluster, r->k->places.cluster) != 0)
		return "it is another cluster's";
	if (!has_all(r))
		return "it does not hold the kinds that this version lists";
	if (is_marked(r->k))
		return "what is in force is newer, and stays";
	return take_all(r) ? NULL : "an object of it cannot be taken";
}

bool kube_keeper_load(struct kube_keeper *k)
{
	_cleanup_free_ char *bytes = NULL;
	struct restore restore = { .k = k };
	char error[256];
	const char *why = error;
	size_t len = 0;
	int r = k->dir < 0 ? -ENOENT : file_read(k->dir, API_STATE_FILE, STATE_MAX, &bytes, &len);

	if (r == -ENOENT)
		return false;
	if (r < 0)
		why = strerror(-r);
	else if (kube_state_open(&restore.state, bytes, len, error, sizeof(error)) == 0) {
		restore.rebooted = strcmp(restore.state.head.boot_id, k->head.boot_id) != 0;
		why = refuse(&restore);
	}
	kube_state_close(&restore.state);
	if (why)
		log_warning("%s/" API_STATE_FILE ": not taken: %s", k->places.dir, why);
	else
		log_info("the cluster as it was %lld s ago%s, until its API is heard", (long long)kube_keeper_age(k),
			 restore.rebooted ? ", in another boot" : "");
	return !why;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

/* What is there is believed, so nobody else may have put it there. */
static int open_dir(const char *path, int *ret)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (st.st_uid != geteuid() || (st.st_mode & 022))
		return -EPERM;
	*ret = TAKE_FD(fd);
	return 0;
}

static int read_boot_id(char ret[BOOT_ID_LENGTH + 1])
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = file_read(AT_FDCWD, BOOT_ID, BOOT_ID_LENGTH + 1, &text, &len);

	if (r < 0)
		return r;
	if (len < BOOT_ID_LENGTH)
		return -EINVAL;
	snprintf(ret, BOOT_ID_LENGTH + 1, "%s", text);
	return 0;
}

static int open_places(struct kube_keeper *k)
{
	int r = read_boot_id(k->head.boot_id);

	if (r == 0 && snprintf(k->head.node, sizeof(k->head.node), "%s", k->places.node) >= (int)sizeof(k->head.node))
		r = -ENAMETOOLONG;
	if (r < 0)
		return r;
	k->run = open(k->places.run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (k->run < 0)
		return -errno;
	return *k->places.dir ? open_dir(k->places.dir, &k->dir) : 0;
}

int kube_keeper_new(sd_event *event, const struct kube_keeper_places *places, struct kube_source *source,
		    struct kube_keeper **ret)
{
	CLEANUP(kube_keeper_freep) struct kube_keeper *k = calloc(1, sizeof(*k));
	int r;

	if (!k)
		return -ENOMEM;
	k->places = *places;
	snprintf(k->head.cluster, sizeof(k->head.cluster), "%s", places->cluster);
	k->source = source;
	k->dir = k->run = -1;
	k->done = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (k->done < 0)
		return -errno;
	r = sd_event_add_io(event, &k->news, k->done, EPOLLIN, on_written, k);
	if (r >= 0)
		r = sd_event_add_time(event, &k->timer, CLOCK_MONOTONIC, 0, 1000, on_timer, k);
	if (r >= 0)
		r = sd_event_source_set_enabled(k->timer, SD_EVENT_OFF);
	if (r < 0)
		return r;
	r = open_places(k);
	if (r < 0)
		tell(k, "it cannot be used", r);
	*ret = TAKE_PTR(k);
	return 0;
}

void kube_keeper_freep(struct kube_keeper **k)
{
	struct kube_keeper *old = *k;

	if (!old)
		return;
	if (old->spool)
		end_writing(old);
	if (old->kept != old->changes && kube_source_synced(old->source)) {
		begin_writing(old);
		if (old->spool)
			end_writing(old);
	}
	sd_event_source_disable_unref(old->timer);
	sd_event_source_disable_unref(old->news);
	closep(&old->done);
	closep(&old->dir);
	closep(&old->run);
	free(old);
	*k = NULL;
}

/* ---- looking ----------------------------------------------------------------------------------------------------- */

int64_t kube_keeper_age(const struct kube_keeper *k)
{
	struct stat st;
	time_t now = time(NULL);

	if (k->dir < 0 || fstatat(k->dir, API_STATE_FILE, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -1;
	return now > st.st_mtime ? (int64_t)(now - st.st_mtime) : 0;
}

json_t *kube_keeper_json(const struct kube_keeper *k)
{
	return json_pack("{s:s, s:I, s:b, s:s}", "dir", k->places.dir, "age", (json_int_t)kube_keeper_age(k), "behind",
			 k->kept != k->changes, "problem", k->problem);
}

uint64_t kube_keeper_failures(const struct kube_keeper *k)
{
	return k->failures;
}
