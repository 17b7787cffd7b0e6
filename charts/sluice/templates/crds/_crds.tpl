{{/* SPDX-License-Identifier: Apache-2.0 */}}

{{- /*
Whether this release brings a CRD: dict "root" $ "value" KEY-OF-crds.install "name" NAME. Says true, or nothing. With auto, a CRD
that came with this release is rendered again, so that upgrades reach it.
*/}}
{{- define "sluice.brings" -}}
{{- $wanted := get .root.Values.crds.install .value }}
{{- if eq (toString $wanted) "auto" }}
{{- $found := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" .name }}
{{- $owner := dig "metadata" "annotations" "meta.helm.sh/release-name" "" ($found | default dict) }}
{{- $place := dig "metadata" "annotations" "meta.helm.sh/release-namespace" "" ($found | default dict) }}
{{- if or (not $found) (and (eq $owner .root.Release.Name) (eq $place .root.Release.Namespace)) }}true{{ end }}
{{- else if $wanted }}true{{ end }}
{{- end }}

{{- define "sluice.crdMetadata" -}}
labels:
  {{- include "sluice.labels" . | nindent 2 }}
annotations:
  # With the CRD went all its policies.
  helm.sh/resource-policy: keep
{{- end }}

{{- /*
Objects keep members that the schema does not know. Pruned by the API server, an unknown member would leave a rule that says
something else than its author did, and Sluice could not refuse it any more.
*/}}

{{- define "sluice.openObject" -}}
type: object
x-kubernetes-preserve-unknown-fields: true
{{- end }}

{{- define "sluice.selectorSchema" -}}
{{ include "sluice.openObject" . }}
properties:
  matchLabels:
    type: object
    additionalProperties: {type: string}
  matchExpressions:
    type: array
    items:
      {{- include "sluice.openObject" . | nindent 6 }}
      required: [key, operator]
      properties:
        key: {type: string}
        operator: {type: string, enum: [In, NotIn, Exists, DoesNotExist]}
        values:
          type: array
          items: {type: string}
{{- end }}

{{- define "sluice.statusSchema" -}}
{{ include "sluice.openObject" . }}
properties:
  conditions:
    type: array
    x-kubernetes-list-type: map
    x-kubernetes-list-map-keys: [type]
    items:
      {{- include "sluice.openObject" . | nindent 6 }}
      required: [type, status]
      properties:
        type: {type: string}
        status: {type: string, enum: ["True", "False", Unknown]}
        reason: {type: string}
        message: {type: string}
        observedGeneration: {type: integer, format: int64}
        lastTransitionTime: {type: string, format: date-time}
{{- end }}

{{- define "sluice.columns" -}}
- {name: Valid, type: string, jsonPath: '.status.conditions[?(@.type=="Valid")].status'}
- {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
{{- end }}

{{- /* One rule of a policy of Cilium's; `spec`, and an item of `specs`. */}}
{{- define "sluice.ciliumRule" -}}
{{- $list := "type: array\nitems: {type: object, x-kubernetes-preserve-unknown-fields: true}" }}
{{ include "sluice.openObject" . }}
properties:
  description: {type: string}
  endpointSelector:
    {{- include "sluice.selectorSchema" . | nindent 4 }}
  nodeSelector:
    {{- include "sluice.selectorSchema" . | nindent 4 }}
  enableDefaultDeny:
    {{- include "sluice.openObject" . | nindent 4 }}
    properties:
      egress: {type: boolean}
      ingress: {type: boolean}
  {{- range $direction := list "egress" "egressDeny" }}
  {{ $direction }}:
    type: array
    items:
      {{- include "sluice.openObject" $ | nindent 6 }}
      properties:
        toEndpoints:
          type: array
          items:
            {{- include "sluice.selectorSchema" $ | nindent 12 }}
        toEntities:
          type: array
          items: {type: string}
        toCIDR:
          type: array
          items: {type: string}
        toCIDRSet:
          {{- $list | nindent 10 }}
        toServices:
          {{- $list | nindent 10 }}
        {{- if eq $direction "egress" }}
        toFQDNs:
          type: array
          items:
            {{- include "sluice.openObject" $ | nindent 12 }}
            properties:
              matchName: {type: string, maxLength: 255}
              matchPattern: {type: string, maxLength: 255}
        {{- end }}
        icmps:
          {{- $list | nindent 10 }}
        toPorts:
          type: array
          items:
            {{- include "sluice.openObject" $ | nindent 12 }}
            properties:
              ports:
                type: array
                items:
                  {{- include "sluice.openObject" $ | nindent 18 }}
                  required: [port]
                  properties:
                    port: {type: string}
                    endPort: {type: integer, format: int32, minimum: 0, maximum: 65535}
                    protocol: {type: string, enum: [TCP, UDP, SCTP, ICMP, ICMPv6, ANY, VRRP, IGMP]}
  {{- end }}
  ingress:
    {{- $list | nindent 4 }}
  ingressDeny:
    {{- $list | nindent 4 }}
{{- end }}

{{- /* Both ClusterNetworkPolicies: dict "ports" SCHEMA-OF-A-RULE'S-PORTS "max" RULES. */}}
{{- define "sluice.clusterPolicySpec" -}}
{{ include "sluice.openObject" . }}
required: [tier, priority, subject]
properties:
  tier: {type: string, enum: [Admin, Baseline]}
  priority: {type: integer, format: int32, minimum: 0, maximum: 1000}
  subject:
    {{- include "sluice.openObject" . | nindent 4 }}
    minProperties: 1
    maxProperties: 1
    properties:
      namespaces:
        {{- include "sluice.selectorSchema" . | nindent 8 }}
      pods:
        {{- include "sluice.openObject" . | nindent 8 }}
        required: [namespaceSelector, podSelector]
        properties:
          namespaceSelector:
            {{- include "sluice.selectorSchema" . | nindent 12 }}
          podSelector:
            {{- include "sluice.selectorSchema" . | nindent 12 }}
  ingress:
    type: array
    maxItems: {{ .max }}
    items:
      {{- include "sluice.openObject" . | nindent 6 }}
  egress:
    type: array
    maxItems: {{ .max }}
    items:
      {{- include "sluice.openObject" . | nindent 6 }}
      required: [action, to]
      properties:
        name: {type: string, maxLength: 100}
        action: {type: string, enum: [Accept, Deny, Pass]}
        to:
          type: array
          minItems: 1
          maxItems: {{ .max }}
          items:
            {{- include "sluice.openObject" . | nindent 12 }}
            minProperties: 1
            maxProperties: 1
            properties:
              namespaces:
                {{- include "sluice.selectorSchema" . | nindent 16 }}
              pods:
                {{- include "sluice.openObject" . | nindent 16 }}
                required: [namespaceSelector, podSelector]
                properties:
                  namespaceSelector:
                    {{- include "sluice.selectorSchema" . | nindent 20 }}
                  podSelector:
                    {{- include "sluice.selectorSchema" . | nindent 20 }}
              nodes:
                {{- include "sluice.selectorSchema" . | nindent 16 }}
              networks:
                type: array
                minItems: 1
                maxItems: 25
                items: {type: string, maxLength: 43}
              domainNames:
                type: array
                minItems: 1
                maxItems: 25
                items: {type: string, maxLength: 255}
        {{ .ports }}:
          type: array
          minItems: 1
          maxItems: {{ .max }}
          items:
            {{- include "sluice.openObject" . | nindent 12 }}
{{- end }}

{{- /*
The whole CRD: dict "root" $ "value" KEY "plural" "singular" "kind" "group" "version" "scope" "shortNames" LIST "annotations" DICT
"properties" TEXT, the YAML of what stands beside metadata.
*/}}
{{- define "sluice.crd" -}}
{{- $name := printf "%s.%s" .plural .group }}
{{- if include "sluice.brings" (dict "root" .root "value" .value "name" $name) }}
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: {{ $name }}
  {{- include "sluice.crdMetadata" .root | nindent 2 }}
    {{- with .annotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  group: {{ .group }}
  scope: {{ .scope }}
  names:
    kind: {{ .kind }}
    listKind: {{ .kind }}List
    plural: {{ .plural }}
    singular: {{ .singular }}
    {{- with .shortNames }}
    shortNames: {{ toJson . }}
    {{- end }}
  versions:
  - name: {{ .version }}
    served: true
    storage: true
    {{- if not .bare }}
    subresources: {status: {}}
    additionalPrinterColumns:
      {{- include "sluice.columns" . | nindent 4 }}
    {{- end }}
    schema:
      openAPIV3Schema:
        type: object
        {{- .properties | nindent 8 }}
{{- end }}
{{- end }}
