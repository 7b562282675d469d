package main

import (
	"context"
	"errors"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	request "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	_ "k8s.io/kubernetes/pkg/apis/autoscaling/install"
	"k8s.io/kubernetes/pkg/apis/core"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	_ "k8s.io/kubernetes/pkg/apis/policy/install"
	"k8s.io/kubernetes/pkg/registry/apps/statefulset"
	"k8s.io/kubernetes/pkg/registry/autoscaling/horizontalpodautoscaler"
	"k8s.io/kubernetes/pkg/registry/core/configmap"
	"k8s.io/kubernetes/pkg/registry/core/namespace"
	"k8s.io/kubernetes/pkg/registry/core/service"
	"k8s.io/kubernetes/pkg/registry/policy/poddisruptionbudget"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// strategies are the API server's rules for new objects of each kind.
var strategies = map[string]rest.RESTCreateStrategy{
	"ConfigMap":               configmap.Strategy,
	"HorizontalPodAutoscaler": horizontalpodautoscaler.Strategy,
	"Namespace":               namespace.Strategy,
	"PodDisruptionBudget":     poddisruptionbudget.Strategy,
	"Service":                 service.Strategy,
	"StatefulSet":             statefulset.Strategy,
}

// validate returns the names of the objects and all errors.
func validate(ctx context.Context, documents [][]byte) ([]string, []error) {
	var names []string
	var errs []error
	levels := map[string]api.LevelVersion{}
	var workloads []*appsv1.StatefulSet
	for _, document := range documents {
		object, err := decode(document)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		switch object := object.(type) {
		case *corev1.Namespace:
			level, err := api.ParseLevel(object.Labels[api.EnforceLevelLabel])
			if err != nil {
				errs = append(errs, fmt.Errorf("namespace %s: %s: %w", object.Name, api.EnforceLevelLabel, err))
			}
			levels[object.Name] = api.LevelVersion{Level: level, Version: api.LatestVersion()}
		case *appsv1.StatefulSet:
			workloads = append(workloads, object)
		}
		name, err := create(ctx, object)
		if err != nil {
			errs = append(errs, err)
		} else {
			names = append(names, name)
		}
	}
	for _, workload := range workloads {
		if err := admit(levels, workload.Namespace, workload.Spec.Template); err != nil {
			errs = append(errs, fmt.Errorf("StatefulSet %s: %w", workload.Name, err))
		}
	}
	return names, errs
}

// decode returns the object of a YAML document. Unknown and duplicate fields are errors.
func decode(document []byte) (runtime.Object, error) {
	options := json.SerializerOptions{Yaml: true, Strict: true}
	scheme := legacyscheme.Scheme
	object, _, err := json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme, scheme, options).Decode(document, nil, nil)
	return object, err
}

// create does what the API server does with a new object before it stores the object. It returns the object's kind and name.
func create(ctx context.Context, object runtime.Object) (string, error) {
	kind := object.GetObjectKind().GroupVersionKind()
	accessor, err := meta.Accessor(object)
	if err != nil {
		return "", err
	}
	name := kind.Kind + " " + accessor.GetName()
	strategy, known := strategies[kind.Kind]
	if !known {
		return "", fmt.Errorf("%s: this program does not validate the kind %s", name, kind)
	}
	versioned := object.DeepCopyObject()
	legacyscheme.Scheme.Default(versioned)
	internal, err := legacyscheme.Scheme.ConvertToVersion(versioned, runtime.InternalGroupVersioner)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	if strategy.NamespaceScoped() && accessor.GetNamespace() == metav1.NamespaceNone {
		return "", fmt.Errorf("%s has no namespace", name)
	}
	ctx = request.WithNamespace(ctx, accessor.GetNamespace())
	ctx = request.WithRequestInfo(ctx, &request.RequestInfo{
		IsResourceRequest: true,
		Verb:              "create",
		APIGroup:          kind.Group,
		APIVersion:        kind.Version,
	})
	stored, err := meta.Accessor(internal)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	rest.FillObjectMetaSystemFields(stored)
	if service, isService := internal.(*core.Service); isService && service.Spec.ClusterIP != "" {
		// The storage of services, which also assigns addresses, copies this field before the validation.
		service.Spec.ClusterIPs = []string{service.Spec.ClusterIP}
	}
	if err := rest.BeforeCreate(strategy, ctx, internal); err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return name, nil
}

// admit returns an error if the namespace's Pod Security Standard rejects a pod.
func admit(levels map[string]api.LevelVersion, namespace string, pod corev1.PodTemplateSpec) error {
	level, known := levels[namespace]
	if !known {
		return fmt.Errorf("the namespace %q is not among the objects", namespace)
	}
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		return err
	}
	result := policy.AggregateCheckResults(evaluator.EvaluatePod(level, &pod.ObjectMeta, &pod.Spec))
	if !result.Allowed {
		return errors.New(result.ForbiddenReason() + ": " + result.ForbiddenDetail())
	}
	return nil
}
