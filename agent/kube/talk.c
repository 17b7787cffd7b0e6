/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/kube/talk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define BACK_OFF_DOUBLES 6u
#define RETRY_AFTER_MAX	 120

static const char *write_time(time_t wall, const char *format, char buf[KUBE_TIME_MAX])
{
	struct tm tm;

	buf[0] = '\0';
	if (gmtime_r(&wall, &tm))
		strftime(buf, KUBE_TIME_MAX, format, &tm);
	return buf;
}

const char *kube_time(time_t wall, char buf[KUBE_TIME_MAX])
{
	return write_time(wall, "%Y-%m-%dT%H:%M:%SZ", buf);
}

const char *kube_micro_time(time_t wall, char buf[KUBE_TIME_MAX])
{
	return write_time(wall, "%Y-%m-%dT%H:%M:%S.000000Z", buf);
}

uint64_t kube_back_off(unsigned int failures, long retry_after, uint32_t random)
{
	uint64_t msec = 1000ull << (failures < BACK_OFF_DOUBLES ? failures : BACK_OFF_DOUBLES);
	long asked = retry_after > RETRY_AFTER_MAX ? RETRY_AFTER_MAX : retry_after > 0 ? retry_after : 0;

	return (msec / 2 + random % msec) * NSEC_PER_MSEC + (uint64_t)asked * NSEC_PER_SEC;
}

char *kube_status_text(long status, const char *text, char *buf, size_t size)
{
	static const char key[] = "\"message\":\"";
	const char *words = strstr(text, key);
	size_t len;

	if (status)
		len = (size_t)snprintf(buf, size, "HTTP status %ld: ", status);
	else
		len = 0;
	for (words = words ? words + strlen(key) : text; *words && !strchr("\"\n", *words); words++) {
		if (*words == '\\' && words[1])
			words++;
		if (len + 1 < size)
			buf[len++] = *words;
	}
	buf[len] = '\0';
	return buf;
}

json_t *kube_text_json(const char *text)
{
	json_t *whole = json_string(text);
	_cleanup_free_ char *copy = NULL;

	if (whole)
		return whole;
	copy = strdup(text);
	for (char *c = copy; c && *c; c++) {
		if ((unsigned char)*c >= 0x80)
			*c = '?';
	}
	return copy ? json_string(copy) : NULL;
}
