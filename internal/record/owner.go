// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/zastava-otel/zastava/internal/backendapi"
)

// ownerKinds are the attributes that name what made a pod, nearest first: a pod of a Deployment is made by its
// ReplicaSet, one of a CronJob by its Job.
var ownerKinds = [...]struct{ attribute, kind string }{
	{attrReplicaSetName, "ReplicaSet"},
	{attrStatefulSetName, "StatefulSet"},
	{attrDaemonSetName, "DaemonSet"},
	{attrJobName, "Job"},
	{attrDeploymentName, "Deployment"},
	{attrCronJobName, "CronJob"},
}

// owners collects what processors told of a pod's owners.
type owners [len(ownerKinds)]string

func (o *owners) take(key string, v pcommon.Value) {
	for i := range ownerKinds {
		if ownerKinds[i].attribute == key {
			o[i] = name(v)
			return
		}
	}
}

func (o *owners) best() *backendapi.Owner {
	for i, owner := range o {
		if owner != "" {
			return &backendapi.Owner{Kind: ownerKinds[i].kind, Name: owner}
		}
	}
	return nil
}
