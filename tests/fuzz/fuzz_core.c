/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queries, answers, time and policy changes in any order. Whatever happens: what goes upstream is a name that a policy
 * in force lets be asked, a lease is of a name set, every query under way ends.
 */
#include <string.h>

#include "base/clock.h"
#include "policy/compile.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/dnsproxy/fake.h"

static struct fake f;
static struct image *images[2];

static struct image *make(const char *rules)
{
	static const char head[] =
		"apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, namespace: ns}\n"
		"spec:\n  endpointSelector: {}\n  egress:\n";
	struct subject subject = { .namespace_name = "ns", .name = "a" };
	struct diags diags = {};
	struct store *store = NULL;
	struct image *img = NULL;
	char text[1024] = "";
	uint8_t *data;
	size_t len;

	strcat(strcpy(text, head), rules);
	must(store_new(&store) == 0 && store_update(store, "f", text, strlen(text), &diags) == 0);
	must(compile(store, &subject, NULL, &diags, &data, &len) == 0 && image_open(data, len, &img) == 0);
	diags_clear(&diags);
	store_freep(&store);
	return img; /* with its bytes, as long as the process lives */
}

/* The query last sent upstream: of our own making, for a name that may be asked under either policy of this run. */
static void check_asked(void)
{
	struct wire_query q;
	struct image_match a, b;

	if (f.nasked == 0)
		return;
	must(wire_read_query(f.asked.data, f.asked.len, &q) == WIRE_OK);
	image_match_name(images[0], q.name.text, q.name.len, &a);
	image_match_name(images[1], q.name.text, q.name.len, &b);
	must(a.askable || b.askable);
}

static void step(uint8_t op, const uint8_t *data, size_t len, uint64_t *clock)
{
	struct core_asker from = { .ifindex = 103, .endpoint = 3, .generation = 77, .port = 4000, .tcp = op & 8 };
	struct core_asker neighbour = { .ifindex = 104, .endpoint = 4, .generation = 78, .port = 4000, .tcp = op & 8 };
	uint64_t now = *clock += NSEC_PER_MSEC;
	uint8_t answer[512];
	size_t head;

	switch (op & 7) {
	case 0:
	case 1:
		core_query(f.core, op & 0x10 ? &neighbour : &from, data, len, now);
		break;
	case 2:
		core_answer(f.core, f.asked_transport, f.asked_tcp, data, len, now);
		break;
	case 3: /* to the question last asked: header and question are right, the rest is the input's */
	case 4:
		head = f.asked.len - (f.asked.data[11] ? 11 : 0); /* without the OPT record */
		if (f.asked.len < 12 || head + len > sizeof(answer))
			break;
		memcpy(answer, f.asked.data, head);
		memcpy(answer + head, data, len);
		answer[2] = 0x81 | (op & 0x20 ? 2 : 0);
		answer[3] = op & 8 ? len & 15 : 0; /* an error at times */
		answer[7] = op >> 6;
		answer[9] = answer[11] = 0;
		core_answer(f.core, f.asked_transport, f.asked_tcp, answer, head + len, now);
		break;
	case 5:
		core_tick(f.core, *clock += (uint64_t)len * NSEC_PER_SEC);
		break;
	case 6:
		core_lost(f.core, op >> 4, op & 8, len & 1, now);
		break;
	case 7:
		f.endpoints[3].state = SLUICE_STATE(op & 8 ? SLUICE_MODE_QUARANTINE : SLUICE_MODE_ENFORCE,
						    SLUICE_STATE_NAMES, op, 1 + (op >> 4 & 1));
		f.ask_error = op & 0x20 ? -1 : 0;
		f.tcp_stands = op & 0x40;
		break;
	}
	check_asked();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t now = 1000 * NSEC_PER_SEC;

	if (!images[0]) {
		images[0] = make("  - toFQDNs: [{matchName: a.b}, {matchPattern: '*.c'}]\n  - toCIDR: [10.0.0.0/8]\n");
		images[1] = make("  - toFQDNs: [{matchName: d}]\n"
				 "  - toEndpoints: [{}]\n"
				 "    toPorts: [{ports: [{port: \"53\"}], rules: {dns: [{matchPattern: '*.e'}]}}]\n");
	}
	fake_new(&f, images[0]);
	f.images[2] = images[1];
	f.conf.nresolvers = 2;
	f.conf.resolvers[1] = f.conf.resolvers[0];
	f.conf.resolvers[1].addr.b[15]++;
	core_set_settings(f.core, &f.conf);
	f.endpoints[4] = f.endpoints[3];
	f.endpoints[4].generation = 78;
	f.endpoints[4].ifindex = 104;
	f.links[4] = (struct sluice_if){ 4, 78 };
	f.max_leases = 8;
	while (size >= 2) {
		size_t len = data[1] < size - 2 ? data[1] : size - 2;

		step(data[0], data + 2, len, &now);
		data += 2 + len;
		size -= 2 + len;
	}
	for (uint32_t i = 0; i < f.nleases; i++)
		must(f.leases[i].slots[0].set & SLUICE_SET_NAME);
	for (int i = 0; i < 20; i++)
		core_tick(f.core, now += 2 * NSEC_PER_SEC);
	must(core_in_flight(f.core) == 0);
	fake_free(&f);
	return 0;
}
