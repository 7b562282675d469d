// Command kubernetes renders kustomizations and validates the objects as the Kubernetes API server does when they are
// created: strict decoding, defaults, the validation of the API, and the Pod Security Standard of the namespace.
//
//	go run . FOLDER...
package main

import (
	"context"
	"fmt"
	"os"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

func main() {
	failed := false
	for _, folder := range os.Args[1:] {
		rendered, err := render(folder)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", folder, err)
			failed = true
			continue
		}
		names, errs := validate(context.Background(), rendered)
		for _, name := range names {
			fmt.Printf("%s: %s: valid\n", folder, name)
		}
		for _, err := range errs {
			fmt.Fprintf(os.Stderr, "%s: %v\n", folder, err)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}

// render returns the objects of a kustomization, one YAML document per object.
func render(folder string) ([][]byte, error) {
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		return nil, err
	}
	var documents [][]byte
	for _, resource := range resources.Resources() {
		document, err := resource.AsYAML()
		if err != nil {
			return nil, err
		}
		documents = append(documents, document)
	}
	return documents, nil
}
