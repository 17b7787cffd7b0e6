/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/privs.h"

#include <cap-ng.h>
#include <errno.h>
#include <stdbool.h>
#include <sys/prctl.h>

#include "base/cleanup.h"
#include "base/log.h"

/* Older capability headers stop before these. */
#ifndef CAP_PERFMON
#define CAP_PERFMON 38
#endif
#ifndef CAP_BPF
#define CAP_BPF 39
#endif

int privs_drop(void)
{
	static const unsigned int kept[] = { CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON };

	bool may_bound;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	capng_get_caps_process();
	/* The bounding set wants SETPCAP, which may be gone already: then there is nothing in it to lose. */
	may_bound = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP);
	capng_clear(CAPNG_SELECT_BOTH);
	/* Bounded too, or agent/uninstall.c would have none of them. */
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET, kept[i]);
	if ((may_bound && capng_apply(CAPNG_SELECT_BOUNDS) < 0) || capng_apply(CAPNG_SELECT_CAPS) < 0) {
		log_error("capabilities cannot be given up");
		return -EPERM;
	}
	return 0;
}
