/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The short way of an established flow's packet comes to what the long way comes to: random frames around a handful of flows,
 * in random states, run through the programs as they are and through the same without the short way (long.bpf.c), each on
 * the same tables. Verdict, counters, flows and what is told of it must agree. Most frames are a flow's own with one thing
 * wrong; the flows' table holds entries too that no program would write, so that each check stands alone.
 *
 * A tag that a device has taken out of the frame no test run can set: test_l2.c has one on a live flow.
 *
 * One seed is fixed; another is new in every run and printed (SLUICE_SEED repeats it).
 */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "long.skel.h"
#include "tests/bpf/chance.h"
#include "tests/bpf/harness.h"

static struct long_bpf *twin;
/* ---- the twin ---------------------------------------------------------------------------------------------------- */

static int open_twin(struct harness *h)
{
	struct bpf_map *map;

	twin = long_bpf__open();
	if (!twin)
		return -1;
	bpf_object__for_each_map(map, twin->obj)
	{
		const struct bpf_map *shared = bpf_object__find_map_by_name(h->skel->obj, bpf_map__name(map));

		if (shared && bpf_map__reuse_fd(map, bpf_map__fd(shared)))
			return -1;
	}
	return long_bpf__load(twin);
}

static int open_both(void **state)
{
	return harness_open(state) ?: open_twin(*state);
}

static int close_both(void **state)
{
	long_bpf__destroy(twin);
	return harness_close(state);
}

/* ---- a scene: a state, an endpoint, a flow, a frame --------------------------------------------------------------- */

struct scene {
	uint64_t state;
	uint32_t generation; /* of the slot */
	struct sluice_flow flow;
	struct frame frame;
	uint32_t gso_size;
	bool to_pod, forwarded;
};

static const char *const peers4[] = { PEER4, PEER4, PEER4, "127.0.0.9", "224.0.0.9" };
static const char *const peers6[] = { PEER6, PEER6, PEER6, "::ffff:192.0.2.7", "ff02::9", "64:ff9b::7f00:1" };
static const uint16_t ports[] = { 443, 443, 443, 53, 1000 };
/* One in `n`. */
static bool rarely(uint32_t n)
{
	return chance(n) == 0;
}

/* Whose address the frame bears on the pod's side: mostly its own. */
static const char *pod_address(bool v6)
{
	if (rarely(16))
		return v6 ? "fd00::6" : "10.0.1.6";
	if (v6 && rarely(16))
		return "::ffff:" POD4;
	return v6 ? POD6 : POD4;
}

static struct frame whole_frame(bool v6, bool to_pod)
{
	static const uint8_t flags[] = { ACK, ACK, ACK | PSH, FIN | ACK, RST, RST | ACK, SYN, SYN | ACK, 0, FIN };
	const char *pod = pod_address(v6), *peer = v6 ? PICK(peers6) : PICK(peers4);
	uint16_t port = PICK(ports);
	bool tcp = chance(3) != 0;
	struct frame f;

	frame_eth(&f, to_pod ? POD_MAC : HOST_MAC, to_pod ? HOST_MAC : POD_MAC, v6 ? 0x86dd : 0x0800);
	frame_ip(&f, to_pod ? peer : pod, to_pod ? pod : peer, tcp ? IPPROTO_TCP : IPPROTO_UDP);
	if (rarely(16) && !v6)
		frame_options(&f, rarely(2) ? "\x01\x01\x01" : "\x83\x03\x04", 4);
	if (rarely(16))
		frame_fragment(&f, (uint16_t)(chance(2) * 8), rarely(2), 7, tcp ? IPPROTO_TCP : IPPROTO_UDP);
	if (tcp)
		frame_tcp(&f, to_pod ? port : 1000, to_pod ? 1000 : port, PICK(flags));
	else
		frame_udp(&f, to_pod ? port : 1000, to_pod ? 1000 : port, chance(40));
	frame_end(&f);
	return f;
}

/* One thing wrong in half of them. */
static void spoil(struct frame *f)
{
	size_t headers = f->transport + 20;

	switch (chance(8)) {
	case 0:
		f->data[chance((uint32_t)(headers < f->len ? headers : f->len))] ^= (uint8_t)(1u << chance(8));
		break;
	case 1: /* a length */
		f->data[f->ip + (f->family == 4 ? 2 : 4) + chance(2)] = (uint8_t)chance(256);
		break;
	case 2: /* where flags and the header's length are */
		f->data[f->transport + (chance(2) ? 12 : 4) + chance(2)] = (uint8_t)chance(256);
		break;
	case 3:
		f->len -= chance((uint32_t)(f->len - 14));
		break;
	default:
		break;
	}
}

/* The flow that the frame is of, mostly before it was spoilt; not always a possible one. */
static struct sluice_flow flow_of(const struct scene *s, const struct frame *f)
{
	static const uint8_t origins[] = { SLUICE_ORIGIN_POD,	  SLUICE_ORIGIN_POD,  SLUICE_ORIGIN_POD,
					   SLUICE_ORIGIN_OUTSIDE, SLUICE_ORIGIN_HOST, SLUICE_ORIGIN_TOMBSTONE };
	const uint8_t *ip = f->data + f->ip, *port = f->data + f->transport;
	struct sluice_flow flow = { .key = { .endpoint = TEST_ENDPOINT, .generation = TEST_GENERATION } };
	struct sluice_addr from = {}, to = {};

	if (f->family == 4) {
		from.b[10] = from.b[11] = to.b[10] = to.b[11] = 0xff;
		memcpy(from.b + 12, ip + 12, 4);
		memcpy(to.b + 12, ip + 16, 4);
	} else {
		memcpy(from.b, ip + 8, 16);
		memcpy(to.b, ip + 24, 16);
	}
	flow.key.local = s->to_pod ? to : from;
	flow.key.remote = s->to_pod ? from : to;
	memcpy(&flow.key.lport, port + (s->to_pod ? 2 : 0), 2);
	memcpy(&flow.key.rport, port + (s->to_pod ? 0 : 2), 2);
	flow.key.proto = f->data[f->ip + (f->family == 4 ? 9 : 6)];
	flow.origin = PICK(origins);
	flow.flags = (uint8_t)(chance(2) ? 0 : chance(64));
	flow.judged = SLUICE_STATE_JUDGED(s->state);
	if (rarely(4))
		flow.judged = SLUICE_STATE(0, 0, 7, TEST_POLICY);
	else if (rarely(4))
		flow.judged |= SLUICE_MODE_AUDIT;
	return flow;
}

static struct scene random_scene(void)
{
	static const enum sluice_mode modes[] = { SLUICE_MODE_ENFORCE, SLUICE_MODE_ENFORCE, SLUICE_MODE_ENFORCE,
						  SLUICE_MODE_AUDIT,   SLUICE_MODE_OPEN,    SLUICE_MODE_QUARANTINE };
	struct scene s = { .generation = rarely(16) ? TEST_GENERATION + 1 : TEST_GENERATION, .to_pod = rarely(3) };

	s.state = SLUICE_STATE(PICK(modes), chance(2) ? SLUICE_STATE_NAMES : 0, 1 + chance(2), TEST_POLICY);
	s.forwarded = chance(2);
	s.gso_size = rarely(4) ? 8 : 0;
	s.frame = whole_frame(rarely(2), s.to_pod);
	s.flow = flow_of(&s, &s.frame);
	if (rarely(8)) /* another station's */
		s.frame.data[5] ^= 8;
	if (chance(2))
		spoil(&s.frame);
	if (rarely(4))
		s.flow = flow_of(&s, &s.frame);
	return s;
}

/* ---- what comes of it --------------------------------------------------------------------------------------------- */

struct outcome {
	int verdict;
	unsigned int events;
	uint8_t reason;
	uint64_t forwarded, bytes, opened, noted;
	struct sluice_runtime runtime;
	struct sluice_flow flow; /* as left; all zero when it is gone */
	unsigned int flows, fragments;
};

/* False: the kernel takes no such frame. */
static bool run_scene(struct harness *h, struct bpf_program *prog, const struct scene *s, int *ret)
{
	struct __sk_buff ctx = { .ifindex = (uint32_t)h->host_ifindex,
				 .ingress_ifindex = s->forwarded ? (uint32_t)h->pod_ifindex : 0,
				 .gso_size = s->gso_size,
				 .gso_segs = s->gso_size != 0 };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = s->frame.data, .data_size_in = (uint32_t)s->frame.len,
		    .ctx_in = &ctx, .ctx_size_in = sizeof(ctx));

	if (bpf_prog_test_run_opts(bpf_program__fd(prog), &opts))
		return false;
	*ret = (int)opts.retval;
	return true;
}

/* How many there were. */
static unsigned int clear_map(const struct bpf_map *map)
{
	unsigned int n = 0;
	uint8_t key[64];

	for (; bpf_map_get_next_key(bpf_map__fd(map), NULL, key) == 0; n++)
		assert_int_equal(bpf_map_delete_elem(bpf_map__fd(map), key), 0);
	return n;
}

static bool play(struct harness *h, struct bpf_program *prog, const struct scene *s, struct outcome *ret)
{
	int fd = bpf_map__fd(h->skel->maps.flows);
	struct sluice_event e = {};
	uint64_t forwarded = total(h, SLUICE_TOTAL_FORWARDED), bytes = total(h, SLUICE_TOTAL_FORWARDED_BYTES);
	uint64_t opened = total(h, SLUICE_TOTAL_FLOWS_OPENED), noted = total(h, SLUICE_TOTAL_INBOUND_NOTED);

	memset(ret, 0, sizeof(*ret));
	clear_map(h->skel->maps.flows);
	assert_int_equal(bpf_map_update_elem(fd, &s->flow.key, &s->flow, BPF_ANY), 0);
	memset(&h->runtime[TEST_ENDPOINT], 0, sizeof(h->runtime[0]));
	h->runtime[TEST_ENDPOINT].flows = h->runtime[TEST_ENDPOINT].tombstones = 10;
	h->endpoints[TEST_ENDPOINT].state = s->state;
	h->endpoints[TEST_ENDPOINT].generation = s->generation;
	drain_events(h, NULL);
	if (!run_scene(h, prog, s, &ret->verdict))
		return false;
	ret->events = drain_events(h, &e);
	ret->reason = e.reason;
	ret->forwarded = total(h, SLUICE_TOTAL_FORWARDED) - forwarded;
	ret->bytes = total(h, SLUICE_TOTAL_FORWARDED_BYTES) - bytes;
	ret->opened = total(h, SLUICE_TOTAL_FLOWS_OPENED) - opened;
	ret->noted = total(h, SLUICE_TOTAL_INBOUND_NOTED) - noted;
	ret->runtime = h->runtime[TEST_ENDPOINT];
	/* Times differ. That some are set does not. */
	ret->runtime.dns_bucket = ret->runtime.event_bucket = 0;
	ret->runtime.inbound_hold = ret->runtime.inbound_hold != 0;
	ret->flows = count_flows(h);
	ret->fragments = clear_map(h->skel->maps.frags);
	if (bpf_map_lookup_elem(fd, &s->flow.key, &ret->flow))
		memset(&ret->flow, 0, sizeof(ret->flow));
	ret->flow.last_seen = ret->flow.last_seen != 0;
	return true;
}

static void describe(const struct scene *s, const struct outcome *o, const char *which)
{
	print_error(
		"%s: verdict %d reason %u events %u forwarded %llu flows %u; flow origin %u flags %u tx %llu rx %llu "
		"judged %llx\n",
		which, o->verdict, o->reason, o->events, (unsigned long long)o->forwarded, o->flows, o->flow.origin,
		o->flow.flags, (unsigned long long)o->flow.tx_packets, (unsigned long long)o->flow.rx_packets,
		(unsigned long long)o->flow.judged);
	if (strcmp(which, "long"))
		return;
	print_error("state %lx generation %u gso %u %s, flow of origin %u judged %llx, %zu bytes:", s->state,
		    s->generation, s->gso_size, s->to_pod ? "to the pod" : "from the pod", s->flow.origin,
		    s->flow.judged, s->frame.len);
	for (size_t i = 0; i < s->frame.len && i < 80; i++)
		print_error(" %02x", s->frame.data[i]);
	print_error("\n");
}

static void tables(struct harness *h, bool open)
{
	assert_int_equal(harness_reset((void **)&h), 0);
	if (!open)
		return;
	allow(h, "0.0.0.0/0", 0, 0);
	allow(h, "::/0", 0, 0);
}

static void rounds(struct harness *h, uint64_t from)
{
	size_t wanted = verdicts_wanted(20000), played = 0, passed = 0;

	print_message("seed %llu\n", (unsigned long long)from);
	chance_seed = from;
	for (size_t i = 0; played < wanted; i++) {
		struct outcome as_is, by_long_way;
		struct scene s = random_scene();

		if (i % 4000 == 0)
			tables(h, i % 8000 == 0);
		if (!play(h, s.to_pod ? h->skel->progs.to_pod : h->skel->progs.from_pod, &s, &as_is))
			continue;
		assert_true(play(h, s.to_pod ? twin->progs.to_pod : twin->progs.from_pod, &s, &by_long_way));
		if (memcmp(&as_is, &by_long_way, sizeof(as_is))) {
			describe(&s, &as_is, "as is");
			describe(&s, &by_long_way, "long");
			fail();
		}
		played++;
		passed += !s.to_pod && as_is.verdict == PASS;
	}
	print_message("%zu scenes, in %zu a frame of the pod's passed\n", played, passed);
	assert_in_range(passed, played / 50, played - played / 50);
}

static void fixed_seed(void **state)
{
	rounds(*state, 20261130);
}

static void new_seed(void **state)
{
	rounds(*state, new_seed_of_run());
}

/* The long way alone writes to its working memory. */
static bool is_short(struct harness *h, struct bpf_program *prog, const struct scene *s)
{
	size_t size = bpf_map__value_size(h->skel->maps.work);
	_cleanup_free_ uint8_t *all = calloc((size_t)libbpf_num_possible_cpus(), (size + 7) & ~7ul);
	struct outcome o;
	uint32_t zero = 0;

	assert_non_null(all);
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(h->skel->maps.work), &zero, all, BPF_ANY), 0);
	assert_true(play(h, prog, s, &o));
	assert_int_equal(o.verdict, PASS);
	assert_int_equal(o.flow.tx_packets + o.flow.rx_packets, 1);
	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(h->skel->maps.work), &zero, all), 0);
	for (size_t i = 0; i < (size_t)libbpf_num_possible_cpus() * ((size + 7) & ~7ul); i++) {
		if (all[i])
			return false;
	}
	return true;
}

/* Both would agree for ever if neither were short. */
static void is_taken(void **state)
{
	struct harness *h = *state;
	const struct frame out[] = { pod_tcp(PEER4, 1000, 443, ACK), pod_tcp(PEER6, 1000, 443, FIN | ACK),
				     pod_udp(PEER4, 1000, 443), pod_udp(PEER6, 1000, 443) };
	const struct frame in[] = { peer_tcp(PEER4, 443, 1000, SYN | ACK), peer_tcp(PEER6, 443, 1000, ACK),
				    peer_udp(PEER4, 443, 1000), peer_udp(PEER6, 443, 1000) };

	for (size_t i = 0; i < ARRAY_SIZE(out); i++) {
		struct scene s = { .state = SLUICE_STATE(SLUICE_MODE_ENFORCE, 0, 1, TEST_POLICY),
				   .generation = TEST_GENERATION,
				   .frame = out[i] };

		tables(h, false);
		s.flow = flow_of(&s, &s.frame);
		s.flow.origin = SLUICE_ORIGIN_POD;
		s.flow.flags = 0;
		s.flow.judged = SLUICE_STATE_JUDGED(s.state);
		assert_true(is_short(h, h->skel->progs.from_pod, &s));
		assert_false(is_short(h, twin->progs.from_pod, &s));
		s.frame = in[i];
		assert_true(is_short(h, h->skel->progs.to_pod, &s));
		assert_false(is_short(h, twin->progs.to_pod, &s));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_taken),
		cmocka_unit_test(fixed_seed),
		cmocka_unit_test(new_seed),
	};

	return cmocka_run_group_tests(tests, open_both, close_both);
}
