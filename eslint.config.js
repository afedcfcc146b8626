import js from '@eslint/js';
import tseslint from 'typescript-eslint';

export default tseslint.config(
  { ignores: ['dist', 'coverage', 'node_modules', '.cache', 'tests/package/consumers'] },
  js.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      '@typescript-eslint/no-invalid-void-type': ['error', { allowAsThisParameter: true }],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      'no-restricted-imports': [
        'error',
        {
          paths: [
            { name: 'etcd3', message: 'Import etcd3 only in src/store/etcd.' },
            { name: '@grpc/grpc-js', message: 'Import @grpc/grpc-js only in src/store/etcd.' },
          ],
        },
      ],
    },
  },
  { files: ['src/store/etcd/**', 'tests/**', 'examples/**'], rules: { 'no-restricted-imports': 'off' } },
  {
    files: ['examples/nest/**', 'tests/examples/nest/**'],
    rules: {
      '@typescript-eslint/no-extraneous-class': ['error', { allowWithDecorator: true }],
      '@typescript-eslint/no-unused-vars': ['error', { ignoreRestSiblings: true }],
    },
  },
  {
    files: ['**/*.cjs'],
    languageOptions: { globals: { require: 'readonly', console: 'readonly', process: 'readonly', module: 'readonly' } },
  },
);
