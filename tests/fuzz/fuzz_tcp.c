/* SPDX-License-Identifier: Apache-2.0 */
/* A stream gives the same messages wherever it is cut. The first byte says how. */
#include <string.h>

#include "dnsproxy/tcp.h"
#include "tests/fuzz/fuzz.h"

/* A sum over the messages, their order and their number. */
static uint64_t read_stream(const uint8_t *data, size_t size, size_t step)
{
	static struct tcp_framer f;
	uint64_t sum = 0;

	f.have = 0;
	while (size > 0) {
		const uint8_t *msg;
		size_t len, space;
		uint8_t *to = tcp_space(&f, &space);
		int r;

		must(space > 0);
		len = step < space ? step : space;
		len = len < size ? len : size;
		memcpy(to, data, len);
		tcp_received(&f, len);
		data += len;
		size -= len;
		while ((r = tcp_next(&f, &msg, &len)) > 0) {
			for (size_t i = 0; i < len; i++)
				sum = sum * 31 + msg[i];
			sum = sum * 31 + len;
			tcp_consume(&f);
		}
		if (r < 0)
			break;
	}
	return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > 1)
		must(read_stream(data + 1, size - 1, 1 + data[0]) == read_stream(data + 1, size - 1, 1));
	return 0;
}
