// SPDX-License-Identifier: Apache-2.0

// resolve.c's output by Go's own resolver.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sort"
	"strings"
	"time"
)

func lookUp(family, name string) string {
	network := map[string]string{"4": "ip4", "6": "ip6", "any": "ip"}[family]
	found, err := (&net.Resolver{PreferGo: true}).LookupNetIP(context.Background(), network, name)
	var failure *net.DNSError
	if errors.As(err, &failure) && failure.IsNotFound {
		return "no-such-host"
	}
	if err != nil {
		return strings.ReplaceAll(err.Error(), " ", "-")
	}
	var texts []string
	for _, address := range found {
		texts = append(texts, address.Unmap().String())
	}
	sort.Strings(texts)
	return strings.Join(texts, ",")
}

func main() {
	for _, argument := range os.Args[1:] {
		family, name, _ := strings.Cut(argument, ":")
		start := time.Now()
		result := lookUp(family, name)
		fmt.Println(family, name, result, time.Since(start).Milliseconds())
	}
}
