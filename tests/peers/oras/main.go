// oras of one pinned version, built from its Go module: a client of registries that is not ours, beside skopeo.
package main

import (
	"os"

	"oras.land/oras/cmd/oras/root"
)

func main() {
	if err := root.New().Execute(); err != nil {
		os.Exit(1)
	}
}
