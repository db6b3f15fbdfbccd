// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

// Opens a library five seconds after its start. With -DPLUGIN it is that library.
#ifdef PLUGIN
int plugin(void) { return 42; }
#else
#include <dlfcn.h>
#include <unistd.h>
int main(void) {
	sleep(5);
	if (!dlopen("/opt/plugins/libplugin.so", RTLD_NOW)) return 1;
	for (;;) pause();
}
#endif
