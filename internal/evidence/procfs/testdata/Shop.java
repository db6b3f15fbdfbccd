// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

public class Shop {
	public static void main(String[] args) throws Exception { Thread.sleep(Long.MAX_VALUE); }
}
