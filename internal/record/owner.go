// Copyright The Zastava Authors
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"go.opentelemetry.io/collector/pdata/pcommon"

	"github.com/zastava-otel/zastava/internal/backendapi"
)

// ownerKinds are the attributes that name a pod's owners, nearest first: a Deployment's pod belongs to its ReplicaSet, a CronJob's
// pod to its Job.
var ownerKinds = [...]struct{ attribute, kind string }{
	{attrReplicaSetName, "ReplicaSet"},
	{attrStatefulSetName, "StatefulSet"},
	{attrDaemonSetName, "DaemonSet"},
	{attrJobName, "Job"},
	{attrDeploymentName, "Deployment"},
	{attrCronJobName, "CronJob"},
}

// owners holds the name of each owner that processors added, "" if unknown.
type owners [len(ownerKinds)]string

func (o *owners) set(key string, v pcommon.Value) {
	for i := range ownerKinds {
		if ownerKinds[i].attribute == key {
			o[i] = name(v)
			return
		}
	}
}

// nearest returns the nearest owner, nil if unknown.
func (o *owners) nearest() *backendapi.Owner {
	for i, owner := range o {
		if owner != "" {
			return &backendapi.Owner{Kind: ownerKinds[i].kind, Name: owner}
		}
	}
	return nil
}
