// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"maps"
	"strconv"
	"strings"

	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/zastava-otel/zastava/internal/backendapi"
)

// resourceDraft collects the attributes of a resource that are decided between, or combined, once all of them are read.
type resourceDraft struct {
	hostName, nodeName              string
	id                              string
	containerName, k8sContainerName string
	imageName, imageTag, repoDigest string
	runtimeOwner                    string // uid; empty if it is root's
	owner                           owners
	podLabels, annotations          map[string]string
}

// resourceAttributes decodes each resource attribute whose name is fixed. Attributes that are not listed, and match no prefix in
// readTemplate, are ignored.
var resourceAttributes = map[string]func(*Origin, pcommon.Value){
	AttrHostName:          func(o *Origin, v pcommon.Value) { o.resource.hostName = name(v) },
	AttrK8sNodeName:       func(o *Origin, v pcommon.Value) { o.resource.nodeName = name(v) },
	AttrContainerID:       func(o *Origin, v pcommon.Value) { o.resource.id = text(v) },
	AttrContainerName:     func(o *Origin, v pcommon.Value) { o.resource.containerName = name(v) },
	AttrK8sContainerName:  func(o *Origin, v pcommon.Value) { o.resource.k8sContainerName = name(v) },
	AttrRuntimeName:       func(o *Origin, v pcommon.Value) { o.runtime.Engine = text(v) },
	AttrRuntimeVersion:    func(o *Origin, v pcommon.Value) { o.runtime.Version = name(v) },
	AttrRuntimeConfigured: func(o *Origin, v pcommon.Value) { o.configured = name(v) },
	AttrRuntimeOwner:      asRuntimeOwner,
	AttrImageName:         func(o *Origin, v pcommon.Value) { o.resource.imageName = text(v) },
	AttrImageTags:         func(o *Origin, v pcommon.Value) { o.resource.imageTag = first(v) },
	AttrImageReference:    func(o *Origin, v pcommon.Value) { o.workload.ImageRef = prose(v) },
	AttrImageID:           func(o *Origin, v pcommon.Value) { o.workload.ImageID = name(v) },
	AttrImageRepoDigests:  func(o *Origin, v pcommon.Value) { o.resource.repoDigest = first(v) },
	AttrManifestDigest:    func(o *Origin, v pcommon.Value) { o.workload.ImageDigest = name(v) },
	AttrPodName:           func(o *Origin, v pcommon.Value) { o.workload.Pod = name(v) },
	AttrPodUID:            func(o *Origin, v pcommon.Value) { o.workload.PodUID = name(v) },
	AttrNamespaceName:     func(o *Origin, v pcommon.Value) { o.workload.Namespace = name(v) },
	AttrK8sRestartCount:   func(o *Origin, v pcommon.Value) { o.restarts, o.restartsSet = u32(v) },
	AttrOSType:            asAnnotation(AttrOSType),
	AttrIsolation:         asAnnotation(AttrIsolation),
}

// asAnnotation decodes an attribute for which the contract has no field.
func asAnnotation(key string) func(*Origin, pcommon.Value) {
	return func(o *Origin, v pcommon.Value) {
		if value := name(v); value != "" {
			put(&o.resource.annotations, key, value)
		}
	}
}

// asRuntimeOwner decodes the owner of a runtime, which becomes part of container ids and an annotation.
func asRuntimeOwner(o *Origin, v pcommon.Value) {
	if uid, ok := u32(v); ok && uid != 0 {
		o.resource.runtimeOwner = strconv.FormatUint(uint64(uid), 10)
		put(&o.resource.annotations, AttrRuntimeOwner, o.resource.runtimeOwner)
	}
}

// Read replaces o by the origin that res describes.
func (o *Origin) Read(d *Decoder, res pcommon.Resource) {
	labels := o.labels
	clear(labels)
	*o = Origin{dec: d, labels: labels}
	for key, v := range res.Attributes().All() {
		if set, ok := resourceAttributes[key]; ok {
			set(o, v)
		} else {
			o.readTemplate(key, v)
		}
	}
	o.complete()
}

// readTemplate decodes the attributes of which only the prefix is fixed, and those of the pod's owners.
func (o *Origin) readTemplate(key string, v pcommon.Value) {
	if rest, ok := strings.CutPrefix(key, AttrContainerLabelPrefix); ok {
		put(&o.labels, rest, text(v))
	} else if rest, ok := strings.CutPrefix(key, AttrAnnotationPrefix); ok {
		put(&o.resource.annotations, rest, text(v))
	} else if rest, ok := strings.CutPrefix(key, attrPodLabelPrefix); ok {
		put(&o.resource.podLabels, rest, text(v))
	} else if rest, ok := strings.CutPrefix(key, attrPodLabelOldPrefix); ok {
		put(&o.resource.podLabels, rest, text(v))
	} else if strings.HasPrefix(key, "k8s.") {
		o.resource.owner.set(key, v)
	}
}

// complete decides what several attributes say together.
func (o *Origin) complete() {
	r, w := &o.resource, &o.workload
	o.node = firstOf(r.nodeName, r.hostName, o.dec.Node)
	if r.id != "" {
		w.ContainerID = o.containerURI(r.id)
	}
	w.Container = firstOf(r.k8sContainerName, r.containerName)
	if w.ImageRef == "" && r.imageName != "" {
		w.ImageRef = within(joinReference(r.imageName, r.imageTag), backendapi.MaxText)
	}
	if w.ImageDigest == "" {
		w.ImageDigest = within(digestOf(r.repoDigest), backendapi.MaxName)
	}
	if w.Pod != "" || w.PodUID != "" {
		w.Platform = backendapi.PlatformKubernetes
	}
	w.Owner = r.owner.nearest()
	w.Labels = o.labels
	if r.podLabels != nil {
		maps.Copy(r.podLabels, o.labels) // the container's own labels are more specific
		w.Labels = r.podLabels
	}
	o.annotations = o.dec.Annotations
	if r.annotations != nil {
		maps.Copy(r.annotations, o.dec.Annotations)
		o.annotations = r.annotations
	}
}

// containerURI returns "<engine>://<id>", or id itself if it has a scheme already. For the runtime of user 1000 it is always
// "<engine>+1000://<id>".
func (o *Origin) containerURI(id string) string {
	engine, owner := o.runtime.Engine, o.resource.runtimeOwner
	switch {
	case engine == "":
		return id
	case owner != "":
		return engine + "+" + owner + "://" + id
	case strings.Contains(id, "://"):
		return id
	default:
		return engine + "://" + id
	}
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// put adds a label or annotation that fits the wire format. One that is too large is left out rather than cut, as in name and
// prose. Half of the pairs are reserved for those that are merged in later.
func put(m *map[string]string, key, value string) {
	if !backendapi.PairFits(key, value) || len(*m) >= backendapi.MaxPairs/2 {
		return
	}
	if *m == nil {
		*m = make(map[string]string)
	}
	(*m)[key] = value
}
