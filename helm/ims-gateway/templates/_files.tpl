{{- /*
Files of the configuration: name to text, as YAML. ConfigMaps are mounted as whole folders, never file
by file: a file that is mounted by itself (subPath) keeps its first text for ever.
*/ -}}

{{- define "ims-gateway.platformFiles" -}}
{{- $files := dict -}}
{{- with .Values.accounts }}{{ $_ := set $files "accounts.yaml" (toYaml (dict "accounts" .)) }}{{ end -}}
{{- with .Values.issuers }}{{ $_ := set $files "issuers.yaml" (toYaml (dict "issuers" .)) }}{{ end -}}
{{- with .Values.operators }}{{ $_ := set $files "operators.yaml" (toYaml (dict "operators" .)) }}{{ end -}}
{{- with .Values.grants }}{{ $_ := set $files "grants.yaml" (toYaml .) }}{{ end -}}
{{- with .Values.prices }}{{ $_ := set $files "prices.yaml" (toYaml .) }}{{ end -}}
{{- toYaml $files -}}
{{- end -}}

{{- define "ims-gateway.tenantFiles" -}}
{{- $files := dict -}}
{{- range $name, $tenant := .Values.tenants }}
{{- $text := ternary $tenant (toYaml (merge (dict "name" $name) (ternary (dict) $tenant (kindIs "string" $tenant)))) (kindIs "string" $tenant) -}}
{{- $_ := set $files (printf "%s.yaml" $name) $text -}}
{{- end -}}
{{- toYaml $files -}}
{{- end -}}

{{- define "ims-gateway.policyTestFiles" -}}
{{- $files := dict -}}
{{- range $name, $suite := .Values.policyTests }}
{{- $_ := set $files (printf "%s.yaml" $name) (ternary $suite (toYaml $suite) (kindIs "string" $suite)) -}}
{{- end -}}
{{- toYaml $files -}}
{{- end -}}

{{- /* Sources of a projected volume: the chart's ConfigMap, if it has one, and those of others. */ -}}
{{- define "ims-gateway.sources" -}}
{{- $sources := list -}}
{{- range (ternary (prepend .others .name) .others (not (empty .own))) -}}
{{- $sources = append $sources (dict "configMap" (dict "name" .)) -}}
{{- end -}}
{{- toYaml $sources -}}
{{- end -}}
