package main

import (
	"context"
	"strings"
	"testing"
)

const namespaceObject = `
apiVersion: v1
kind: Namespace
metadata:
  name: lookout
  labels: { pod-security.kubernetes.io/enforce: restricted }
`

const workers = `
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: worker, namespace: lookout }
spec:
  serviceName: worker
  selector: { matchLabels: { app: worker } }
  template:
    metadata: { labels: { app: worker } }
    spec:
      securityContext: { runAsNonRoot: true, seccompProfile: { type: RuntimeDefault } }
      containers:
        - name: worker
          image: lookout/worker:0.1.0
          securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: [ALL] } }
`

func errorsOf(t *testing.T, documents ...string) string {
	t.Helper()
	var bytes [][]byte
	for _, document := range documents {
		bytes = append(bytes, []byte(document))
	}
	_, errs := validate(context.Background(), bytes)
	var texts []string
	for _, err := range errs {
		texts = append(texts, err.Error())
	}
	return strings.Join(texts, "\n")
}

func TestAcceptsAValidWorkload(t *testing.T) {
	if errs := errorsOf(t, namespaceObject, workers); errs != "" {
		t.Fatal(errs)
	}
}

func TestRejectsWhatTheServerRejects(t *testing.T) {
	for name, test := range map[string]struct{ old, new, expected string }{
		"unknown field":         {"serviceName:", "serviceNames:", `unknown field "spec.serviceNames"`},
		"wrong type":            {"serviceName: worker", "replicas: two", "replicas"},
		"selector":              {"labels: { app: worker }", "labels: { app: other }", "`selector` does not match template `labels`"},
		"name":                  {"name: worker, namespace", "name: Worker_1, namespace", "metadata.name"},
		"namespace":             {"namespace: lookout", "namespace: other", `the namespace "other" is not among the objects`},
		"Pod Security Standard": {"runAsNonRoot: true", "runAsNonRoot: false", "runAsNonRoot"},
	} {
		t.Run(name, func(t *testing.T) {
			changed := strings.Replace(workers, test.old, test.new, 1)
			if changed == workers {
				t.Fatalf("%q is not in the object", test.old)
			}
			if errs := errorsOf(t, namespaceObject, changed); !strings.Contains(errs, test.expected) {
				t.Fatalf("%q is not in %q", test.expected, errs)
			}
		})
	}
}
