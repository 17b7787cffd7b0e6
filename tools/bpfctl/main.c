/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bpfctl/ctl.h"

int main(int argc, char **argv)
{
	return (int)ctl_main(argc, argv);
}
