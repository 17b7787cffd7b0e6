/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/sluice-cni/result.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"

static bool is_veth(const char *name)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ethtool_drvinfo info = { .cmd = ETHTOOL_GDRVINFO };
	struct ifreq request = { .ifr_data = (char *)&info };

	strcpy(request.ifr_name, name);
	return fd >= 0 && ioctl(fd, SIOCETHTOOL, &request) == 0 && strcmp(info.driver, "veth") == 0;
}

int result_host_interfaces(const json_t *result, struct host_interface ret[RESULT_MAX_INTERFACES])
{
	const json_t *item;
	int count = 0;
	size_t i;

	json_array_foreach(json_object_get(result, "interfaces"), i, item)
	{
		const char *name = json_string_value(json_object_get(item, "name"));
		const char *sandbox = json_string_value(json_object_get(item, "sandbox"));
		uint32_t ifindex;

		if (!name || strlen(name) >= IF_NAMESIZE || (sandbox && sandbox[0]))
			continue;
		ifindex = if_nametoindex(name);
		if (ifindex == 0 || !is_veth(name))
			continue;
		if (count == RESULT_MAX_INTERFACES)
			return -E2BIG;
		strcpy(ret[count].name, name);
		ret[count++].ifindex = ifindex;
	}
	return count;
}
