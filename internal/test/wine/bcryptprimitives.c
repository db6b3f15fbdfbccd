// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0
//
// For tests only: Go takes its random bytes from ProcessPrng, which Wine has from version 9 on. The prefix of the tests gets
// this in its system32.

#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID buffer, ULONG size); // RtlGenRandom, of advapi32

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE buffer, SIZE_T size)
{
	while (size > 0) {
		ULONG part = size > 0x10000000 ? 0x10000000 : (ULONG)size;
		if (!SystemFunction036(buffer, part))
			return FALSE;
		buffer += part;
		size -= part;
	}
	return TRUE;
}
