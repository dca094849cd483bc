{{- /* The rules of rbac.yaml, by where they hold. A new request of the controller gets its rule here; the two lives of
     tests/contract/test_i_packaging.py fail for a rule that is missing, and for one that nothing asks for. */ -}}

{{- define "gvisor-nodes.rules.cluster.both" -}}
# The reconciler: sees every ContainerRuntime, writes finalizers, annotations and status.
- apiGroups: [extensions.gardener.cloud]
  resources: [containerruntimes]
  verbs: [get, list, watch, patch]
- apiGroups: [extensions.gardener.cloud]
  resources: [containerruntimes/status]
  verbs: [patch]
# What is told of an object, in its namespace; of a Node, in default.
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
{{- end -}}

{{- define "gvisor-nodes.rules.cluster.gardener" -}}
{{ include "gvisor-nodes.rules.cluster.both" . }}
# What a Shoot is: hibernated, deleted, its networks.
- apiGroups: [extensions.gardener.cloud]
  resources: [clusters]
  verbs: [list, watch]
# What is delivered into the Shoot, with its Secrets; and the kubeconfig gardener-internal. Secrets are never listed, but
# for the key pairs of nodes that are reached by SSH, which are found by their labels.
- apiGroups: [resources.gardener.cloud]
  resources: [managedresources]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, {{ if include "gvisor-nodes.ssh" . }}list, {{ end }}create, patch, delete]
{{- end -}}

{{- define "gvisor-nodes.rules.cluster.standalone" -}}
{{ include "gvisor-nodes.rules.cluster.both" . }}
# The definition of ContainerRuntimes, brought where there is none. A creation has no name that could be named.
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]
  verbs: [create]
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]
  resourceNames: [containerruntimes.extensions.gardener.cloud]
  verbs: [get, patch]
- apiGroups: [node.k8s.io]
  resources: [runtimeclasses]
  verbs: [create]
- apiGroups: [node.k8s.io]
  resources: [runtimeclasses]
  resourceNames: [gvisor]
  verbs: [get, patch, delete]
# The nodes of pools, and the marks on them.
- apiGroups: [""]
  resources: [nodes]
  verbs: [get, list, watch, patch]
{{- with and (include "gvisor-nodes.ssh" .) (((.Values.config).nodes).ssh).keySecret }}
# The key for nodes that are reached by SSH.
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [{{ splitList "/" . | last | quote }}]
  verbs: [get]
{{- end }}
{{- end -}}

{{- define "gvisor-nodes.rules.release" -}}
# Leases, in the release's own namespace.
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames:
    - {{ include "gvisor-nodes.leaderElectionId" . }}
    {{- if not (include "gvisor-nodes.standalone" .) }}
    - gardener-extension-heartbeat
    {{- end }}
  verbs: [get, patch]
{{- end -}}

{{- define "gvisor-nodes.rules.kubeSystem" -}}
# A pool's wish, and the account of its Jobs, which has no token.
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [get, create, patch, delete]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, create, patch, delete]
# The Jobs on nodes, and why one does not begin.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
{{- end -}}
